#pragma once
/// \file
/// The fused forward kernel of one block of queries, tile by tile of keys. Queries stand in lanes, so that maximum, sum
/// and rescaling of the online softmax are lane-wise, and values are read where they are.

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <span>

#include <attend/kernel/partial.hpp>
#include <attend/kernel/read_ahead.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// A tile of keys and values, as the blocks that share it read it: what it takes to read it so is done once.
template <class T>
struct KeyTile {
    Index begin, keys;
    RowOperand<T> k;          ///< features of the keys, keys × width
    BroadcastMatrix<T> rows;  ///< values, keys × d_v
    RowOperand<T> v;          ///< the same as operand of a product, d_v × keys
    bool has_k = false, has_v = false;

    KeyTile(Index begin_, Index end) : begin(begin_), keys(std::min(key_block, end - begin_)) {}
};

/// What a block's forward pass knows without its attention: its scratch, its values and its output.
template <class T, class X>
class BlockOutput {
public:
    const BlockRows<T, X>& rows;
    const Scratch<T>& z;
    bool few;  ///< features or keys stand in lanes instead of queries
    Slice<const X> v;
    ReadAhead& ahead;
    bool first = true;  ///< no tile has been taken in

    BlockOutput(const BlockRows<T, X>& rows_, const Scratch<T>& scratch, bool few_, ReadAhead& ahead_)
        : rows(rows_),
          z(scratch),
          few(few_),
          v(rows.problem.key_slice(rows.problem.v, rows.block.sequence, rows.block.kv_head)),
          ahead(ahead_) {}

    /// Asks for what a block will need first, which this worker is likely to take next; `keys` are the call's features.
    template <class Key>
    ATTEND_NOINLINE void expect(const LaneBlock& next, const StridedView<const Key>& keys) {
        const Problem<X>& problem = rows.problem;
        const Index count = std::min(key_block, next.key_end - next.key_begin);
        ahead.later(problem.key_slice(problem.v, next.sequence, next.kv_head).middleRows(next.key_begin, count),
                    problem.key_slice(keys, next.sequence, next.kv_head).middleRows(next.key_begin, count));
        for (Index h = next.head; h < next.head + next.heads; ++h)
            ahead.later(problem.query_slice(problem.q, next.sequence, h).middleRows(next.row, next.rows));
    }
    /// Asks for the rows that `write` will write.
    void expect_output(const StridedView<X>& out) {
        for (Index h = 0; h < (few ? 0 : rows.block.heads); ++h) ahead.later(rows.of(out, h));
    }

    /// Output, sum and maximum of no keys, into the scratch.
    void start() const {
        set_lanes(z.largest, rows.lanes, std::numeric_limits<T>::lowest());
        set_lanes(z.sum, rows.lanes, T(0));
    }
    /// Takes in scores that make no weights by their sum.
    ATTEND_NOINLINE void add_to_lse(Index keys, const ScoreStrides& apart) const {
        if (!few) return add_to_sums(z, keys, rows.lanes);
        for (Index i = 0; i < rows.block.count(); ++i) {
            T row[key_block];
            for (Index j = 0; j < keys; ++j) row[j] = z.s[i * apart.query + j * apart.key];
            weigh_row(row, keys, z.largest[i], z.sum[i], z.factor[i]);
        }
    }

    /// o = factor ∘ o + weights after dropout · values. `sees` tells who sees values that are not finite.
    ATTEND_NOINLINE void add_weighted_values(KeyTile<T>& tile, Cover cover, LaneOperand<T>& weights,
                                             const ScoreStrides& apart, const Products<T>& products,
                                             const PairTest& sees) {
        rows.drop(tile.begin, tile.keys, weights.data, apart.key);
        const T* const factor = first ? nullptr : z.factor;
        const auto values = v.middleRows(tile.begin, tile.keys);
        first = false;
        if (!tile.has_v) {
            tile.has_v = true;
            ::new (&tile.rows) BroadcastMatrix<T>(readable(values, z.v, few ? Reading::row_by_row : Reading::often));
            if (!few) tile.v = {{tile.rows.data, tile.rows.depth_stride, tile.rows.row_stride}};
        }
        if (cover == Cover::some && !all_finite(tile.rows, tile.keys, v.cols())) [[unlikely]] {
            add_visible_values(tile, values, weights, factor, apart, products, sees);
            tile.has_v = false;
        } else {
            add_values(tile, weights, factor, apart, products);
        }
    }
    /// The output of no keys where there was no tile.
    void end() const {
        if (first) std::fill(z.o, z.o + v.cols() * rows.lanes, T(0));
    }

    /// Leaves what has been seen so far, or starts from it, or takes in the keys that another task has seen.
    void store(const Partial<T>& partial) const { partial.keep(z, rows.lanes, v.cols()); }
    void load(const Partial<T>& partial) const { partial.restore(z, rows.lanes, v.cols()); }
    void merge(const Partial<T>& other) const {
        few ? other.add_to_rows(z, rows.block.count(), v.cols()) : other.add_to_lanes(z, rows.lanes, v.cols());
    }

    /// Writes factor ∘ o, and the LSEs that stand in `sum`.
    void write(const StridedView<X>& out, const StridedView<T>& lse) const {
        for (Index h = 0; h < rows.block.heads; ++h) {
            const Index from = h * rows.block.rows;
            if (lse.data != nullptr) {
                auto lses = rows.of(lse, h);
                for (Index i = 0; i < rows.block.rows; ++i) lses(i, 0) = z.sum[from + i];
            }
            auto to = rows.of(out, h);
            if (few) {
                for (Index i = 0; i < rows.block.rows; ++i)
                    scale_row(z.o + (from + i) * v.cols(), v.cols(), z.factor[from + i],
                              to.data() + i * to.outerStride(), to.innerStride());
            } else {
                lanes_to_rows(z.o, rows.lanes, from, z.factor, rows.block.rows, v.cols(), to.data(), to.outerStride(),
                              to.innerStride());
            }
        }
    }

    /// Of a tile of scores, e^{s − largest}: the weights but for `factor`. Those who have seen nothing have no weight.
    ATTEND_NOINLINE void weigh_again(T* s, Index keys, const ScoreStrides& apart) const {
        constexpr Index w = simd::width<T>;
        const auto weigh = [](T* at, const simd::Packet<T>& largest) ATTEND_ALWAYS_INLINE {
            const auto score = simd::min(simd::load(at), simd::broadcast(std::numeric_limits<T>::max()));
            simd::store(at, exp_of_nonpositive<T>(simd::sub(score, largest)));
        };
        if (!few) {
            for (Index j = 0; j < keys; ++j) {
                for (Index i = 0; i < rows.lanes; i += w) weigh(s + j * rows.lanes + i, simd::load(z.largest + i));
            }
            return;
        }
        for (Index i = 0; i < rows.block.count(); ++i) {
            T row[key_block + w] = {};
            T* const at = s + i * apart.query;
            for (Index j = 0; j < keys; ++j) row[j] = at[j * apart.key];
            for (Index j = 0; j < keys; j += w) weigh(row + j, simd::broadcast(z.largest[i]));
            for (Index j = 0; j < keys; ++j) at[j * apart.key] = row[j];
        }
    }
    /// Writes factor ∘ weights of a tile, after dropout, into the block's rows of the weights.
    ATTEND_NOINLINE void write_weights(Index begin, Index keys, const T* weights, const ScoreStrides& apart,
                                       const StridedView<T>& to) const {
        for (Index h = 0; h < rows.block.heads; ++h) {
            auto of_head = rows.of(to, h).middleCols(begin, keys);
            const Index from = h * rows.block.rows;
            if (!few) {
                lanes_to_rows(weights, rows.lanes, from, z.factor, rows.block.rows, keys, of_head.data(),
                              of_head.outerStride(), of_head.innerStride());
                continue;
            }
            for (Index i = 0; i < rows.block.rows; ++i) {
                for (Index j = 0; j < keys; ++j)
                    of_head(i, j) = z.factor[from + i] * weights[j * apart.key + (from + i) * apart.query];
            }
        }
    }
    /// The weights of keys that nobody sees, or that a shorter sequence has not.
    void hide_weights(Index begin, Index end, const StridedView<T>& to) const {
        for (Index h = 0; h < rows.block.heads; ++h) rows.of(to, h).middleCols(begin, end - begin).setZero();
    }

private:
    void add_values(KeyTile<T>& tile, LaneOperand<T>& weights, const T* factor, const ScoreStrides& apart,
                    const Products<T>& products) const {
        const Index keys = tile.keys;
        if (few) {
            add_rows<T>({tile.rows.data, tile.rows.row_stride, keys, v.cols()}, weights.data, rows.block.count(), apart,
                        factor, z.o);
        } else {
            RowOperand<T>& values = tile.v;
            if (products.by_parts(keys)) {
                products.prepare(values, v.cols(), keys, z.v_parts);
                products.prepare(weights, keys, rows.lanes, z.weight_parts);
            }
            products.multiply(values, v.cols(), keys, weights, rows.lanes, z.o, {.factor = factor, .ahead = &ahead});
        }
    }
    /// The sum of weighted values of a lane and a feature.
    T& output(Index lane, Index a) const { return few ? z.o[lane * v.cols() + a] : z.o[a * rows.lanes + lane]; }
    /// The same with values that are not finite, which a weight of 0 does not hide: they are left out, with the bits
    /// that finite ones would give to those who must not see them, and added to those who see them.
    template <class Rows>
    void add_visible_values(const KeyTile<T>& tile, const Rows& values, LaneOperand<T>& weights, const T* factor,
                            const ScoreStrides& apart, const Products<T>& products, const PairTest& sees) const {
        Eigen::Map<RowMatrix<T>> finite(z.v, values.rows(), values.cols());
        finite = values.template cast<T>();
        for (T& value : finite.reshaped()) value = std::isfinite(value) ? value : T(0);
        KeyTile<T> without(tile.begin, tile.begin + tile.keys);
        without.rows = {z.v, values.cols(), 1};
        without.v = {{z.v, 1, values.cols()}};
        add_values(without, weights, factor, apart, products);
        for (Index j = 0; j < values.rows(); ++j) {
            for (Index a = 0; a < values.cols(); ++a) {
                const T value = static_cast<T>(values(j, a));
                if (std::isfinite(value)) continue;
                for (Index lane = 0; lane < rows.block.count(); ++lane) {
                    if (!sees(rows.position(lane, tile.begin + j))) continue;
                    output(lane, a) += weights.data[j * apart.key + lane * apart.query] * value;
                }
            }
        }
    }
};

/// One block of lanes over its keys.
template <class T, class A, class X>
class BlockForward {
public:
    using Key = KeyScalar<T, A, X>;

    /// `keys`: the features of all keys of the call.
    BlockForward(const A& attention, const Problem<X>& problem, const StridedView<const Key>& keys,
                 const LaneBlock& block, Index width, const Scratch<T>& scratch, ReadAhead& ahead)
        : attention_(attention),
          rows_(problem, block),
          few_(Scores::dot && block.rows <= most_few_queries<T>),
          scores_(attention, rows_, keys, width, few_, scratch.scores),
          output_(rows_, scratch, few_, ahead),
          apart_(scores_.apart()),
          z_(scratch) {}

    /// What is done without the attention.
    BlockOutput<T, X>& output() { return output_; }
    bool by_parts() const { return scores_.multiplier().by_parts(); }

    void load_queries() { scores_.load_queries(); }
    /// Output, sum and maximum of no keys, into the scratch.
    void start() {
        load_queries();
        output_.start();
        if constexpr (RowNormalizer<N>) std::fill(z_.s, z_.s + rows_.block.key_end * apart_.key, -infinity);
    }
    /// Takes in a tile of keys. A normalizer that needs a row whole only keeps its scores.
    void take(KeyTile<T>& tile, [[maybe_unused]] bool wants_lse) {
        const Cover cover = scores_.cover_of_tile(tile.begin, tile.keys);
        if (cover == Cover::none) return;
        T* const s = RowNormalizer<N> ? z_.s + tile.begin * apart_.key : z_.s;
        score_tile(tile, cover, s);
        LaneOperand<T> weights{s};
        if constexpr (OnlineNormalizer<N>) {
            weigh(tile.keys, weights);
        } else if constexpr (PairNormalizer<N>) {
            if (wants_lse) output_.add_to_lse(tile.keys, apart_);
            weigh_pairs(tile.keys);
        } else {
            return;
        }
        add_weighted_values(tile, cover, weights);
    }
    /// What remains to be done when the block has seen all its keys.
    void end() {
        if constexpr (RowNormalizer<N>) {
            normalize_rows();
            for (Index begin = rows_.block.key_begin; begin < rows_.block.key_end; begin += key_block) {
                KeyTile<T> tile(begin, rows_.block.key_end);
                const Cover cover = scores_.cover_of_tile(begin, tile.keys);
                LaneOperand<T> weights{z_.s + begin * apart_.key};
                if (cover != Cover::none) add_weighted_values(tile, cover, weights);
            }
        }
        output_.end();
    }

    /// Writes the rows of the output, the LSE and the weights, as far as they are wanted.
    ATTEND_NOINLINE void finish(const StridedView<X>& out, const StridedView<T>& lse, const StridedView<T>& weights) {
        const LaneBlock& block = rows_.block;
        for (Index h = 0; h < block.heads; ++h) {
            for (Index i = 0; i < block.rows; ++i) finish_lane(h * block.rows + i, block.head + h, lse.data != nullptr);
        }
        output_.write(out, lse);
        if (weights.data != nullptr) write_weights(weights);
    }

private:
    static constexpr Index w = simd::width<T>;
    static constexpr T infinity = std::numeric_limits<T>::infinity();
    using Scores = BlockScores<T, A, X>;
    using N = typename A::NormalizerFunctor;

    static T exp_of_nonpositive(T x) { return simd::first<T>(detail::exp_of_nonpositive<T>(simd::broadcast(x))); }

    /// The final scores of a tile, and what they raise the maximum to.
    void score_tile(KeyTile<T>& tile, Cover cover, T* s) {
        copy_lanes(z_.largest, rows_.lanes, z_.next);
        const auto& k = scores_.keys();
        if (!tile.has_k) {
            tile.has_k = true;
            // In place: a copy would wait for what has just been written.
            ::new (&tile.k) RowOperand<T>{readable<T>(k.middleRows(tile.begin, tile.keys), z_.scores.k,
                                                      few_ ? Reading::row_by_row : Reading::once)};
            const Index begin = tile.begin + tile.keys, next = std::min(key_block, rows_.block.key_end - begin);
            if (next > 0) output_.ahead.soon(output_.v.middleRows(begin, next), k.middleRows(begin, next));
        }
        const bool final = scores_.products_are_final && cover == Cover::all;
        scores_.products(tile.k, tile.keys, s, final ? z_.next : nullptr, &output_.ahead,
                         final && OnlineNormalizer<N> && !rows_.problem.dropout);
        if (final) return;
        scores_.finish(tile.begin, tile.keys, cover, s, [&](const T* lanes) {
            if (few_) return;
            for (Index i = 0; i < rows_.lanes; i += w)
                simd::store(z_.next + i, simd::max(simd::load(z_.next + i), simd::load(lanes + i)));
        });
    }

    /// Scores into weights, with their parts where products go by them.
    void weigh(Index keys, [[maybe_unused]] LaneOperand<T>& weights) {
        if (few_) return weigh_rows(z_, keys, rows_.block.count(), apart_);
#if defined(ATTEND_AMX)
        if constexpr (may_go_by_parts<T, A>) {
            if (scores_.multiplier().by_parts(keys)) {
                weigh_and_split_tile(z_, keys, rows_.lanes);
                if (!rows_.problem.dropout) weights.split = z_.weight_parts;
                return;
            }
        }
#endif
        weigh_tile(z_, keys, rows_.lanes);
    }
    /// Scores into weights, each by itself.
    void weigh_pairs(Index keys) {
        set_lanes(z_.factor, rows_.lanes, T(1));
        for (Index j = 0; j < keys; ++j) {
            T* const s = z_.s + j * apart_.key;
            rows_.for_each_packet(j, [&](Index lane, const Position& p, Index count) {
                const auto scores = Lanes<T>::of(simd::load(s + lane, count, T(0)));
                simd::store<T>(s + lane, attention_.normalizer.weight(scores, p.head).packet, count);
            });
        }
    }
    /// Whole rows of scores into weights; their LSEs stand in `sum` until the end.
    void normalize_rows() {
        const LaneBlock& block = rows_.block;
        const Index n = block.key_end;
        for (Index lane = 0; lane < block.count(); ++lane) {
            for (Index j = 0; j < n; ++j) z_.row[j] = z_.s[j * apart_.key + lane];
            const Index head = lane / block.rows;
            z_.sum[lane] = attention_.normalizer.normalize(
                std::span<T>(z_.row, static_cast<std::size_t>(n)),
                rows_.problem.row_position(block.sequence, block.head + head, block.row + lane % block.rows));
            for (Index j = 0; j < n; ++j) z_.s[j * apart_.key + lane] = z_.row[j];
        }
        for (Index lane = 0; lane < rows_.lanes; ++lane) z_.factor[lane] = T(1);
    }
    void add_weighted_values(KeyTile<T>& tile, Cover cover, LaneOperand<T>& weights) {
        output_.add_weighted_values(tile, cover, weights, apart_, scores_.multiplier(), PairTest(attention_.mask));
    }

    /// Sets by what `factor` the sums of a lane become its output, and `sum` to its LSE if that is wanted.
    void finish_lane(Index i, Index head, bool wants_lse) {
        if constexpr (RowNormalizer<N>) {
            z_.factor[i] = T(1);
        } else {
            T m = z_.largest[i], l = z_.sum[i];
            z_.factor[i] = PairNormalizer<N> ? T(1) : l == T(0) ? T(0) : T(1) / l;
            if (l == T(0)) {  // nothing seen
                z_.sum[i] = -infinity;
                return;
            }
            if constexpr (requires { attention_.normalizer.logit(head); }) {
                const T sink = static_cast<T>(attention_.normalizer.logit(head)), top = std::max(m, sink);
                const T rescale = exp_of_nonpositive(m - top);
                l = rescale * l + exp_of_nonpositive(sink - top);
                z_.factor[i] = rescale / l;
                m = top;
            }
            if (wants_lse) z_.sum[i] = m == std::numeric_limits<T>::max() ? infinity : m + std::log(l);
        }
    }

    /// The weights of all keys, tile by tile, formed again but where a normalizer needed its rows whole.
    ATTEND_NOINLINE void write_weights(const StridedView<T>& weights) {
        const amx::Tiles tiles(by_parts());
        const Index end = rows_.problem.keys(rows_.block.sequence);
        for (Index begin = 0; begin < end; begin += key_block) {
            KeyTile<T> tile(begin, end);
            const Cover cover = scores_.cover_of_tile(begin, tile.keys);
            if (cover == Cover::none) {
                output_.hide_weights(begin, begin + tile.keys, weights);
                continue;
            }
            T* const s = RowNormalizer<N> ? z_.s + begin * apart_.key : z_.s;
            if constexpr (!RowNormalizer<N>) {
                score_tile(tile, cover, s);
                if constexpr (PairNormalizer<N>) {
                    weigh_pairs(tile.keys);
                } else {
                    output_.weigh_again(s, tile.keys, apart_);
                }
                rows_.drop(begin, tile.keys, s, apart_.key);
            }
            output_.write_weights(begin, tile.keys, s, apart_, weights);
        }
        output_.hide_weights(end, weights.columns, weights);
    }

    const A& attention_;
    BlockRows<T, X> rows_;
    bool few_;  ///< features or keys stand in lanes instead of queries
    Scores scores_;
    BlockOutput<T, X> output_;
    const ScoreStrides& apart_;  ///< of the scores of this tile
    const Scratch<T>& z_;
};

}  // namespace attend::detail::fused

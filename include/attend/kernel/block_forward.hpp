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

/// One block of lanes over its keys.
template <class T, class A, class X>
class BlockForward {
public:
    using Key = KeyScalar<T, A, X>;

    /// `keys`: the features of all keys of the call.
    BlockForward(const A& attention, const Problem<X>& problem, const StridedView<const Key>& keys,
                 const LaneBlock& block, Index width, const Scratch<T>& scratch, ReadAhead& ahead)
        : attention_(attention),
          problem_(problem),
          block_(block),
          few_(Scores::dot && block.rows <= most_few_queries<T>),
          all_keys_(keys),
          scores_(attention, problem, keys, block, width, few_, scratch.scores),
          lanes_(scores_.lanes()),
          apart_(scores_.apart()),
          z_(scratch),
          k_(scores_.keys()),
          v_(problem.key_slice(problem.v, block.sequence, block.kv_head)),
          ahead_(ahead) {}

    /// Asks for what a block will need first, which this worker is likely to take next.
    void expect(const LaneBlock& next) {
        const Index keys = std::min(key_block, next.key_end - next.key_begin);
        ahead_.later(problem_.key_slice(problem_.v, next.sequence, next.kv_head).middleRows(next.key_begin, keys),
                     problem_.key_slice(all_keys_, next.sequence, next.kv_head).middleRows(next.key_begin, keys));
        for (Index h = next.head; h < next.head + next.heads; ++h)
            ahead_.later(problem_.query_slice(problem_.q, next.sequence, h).middleRows(next.row, next.rows));
    }
    /// Asks for the rows that `finish` will write.
    void expect_output(const StridedView<X>& out) {
        for (Index h = 0; h < (few_ ? 0 : block_.heads); ++h) ahead_.later(rows_of(problem_, out, block_, h));
    }

    bool by_parts() const { return scores_.multiplier().by_parts(); }

    /// Output, sum and maximum of no keys, into the scratch.
    void start() {
        scores_.load_queries();
        set_lanes(z_.largest, lanes_, std::numeric_limits<T>::lowest());
        set_lanes(z_.sum, lanes_, T(0));
        if constexpr (RowNormalizer<N>) std::fill(z_.s, z_.s + block_.key_end * apart_.key, -infinity);
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
            if (wants_lse) add_to_lse(tile.keys);
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
            for (Index begin = block_.key_begin; begin < block_.key_end; begin += key_block) {
                KeyTile<T> tile(begin, block_.key_end);
                const Cover cover = scores_.cover_of_tile(begin, tile.keys);
                LaneOperand<T> weights{z_.s + begin * apart_.key};
                if (cover != Cover::none) add_weighted_values(tile, cover, weights);
            }
        }
        if (first_) std::fill(z_.o, z_.o + v_.cols() * lanes_, T(0));
    }

    /// Leaves what has been seen so far, or starts from it, or takes in the keys that another task has seen.
    void store(const Partial<T>& partial) const { partial.keep(z_, lanes_, v_.cols()); }
    void load(const Partial<T>& partial) const { partial.restore(z_, lanes_, v_.cols()); }
    void merge(const Partial<T>& other) const {
        few_ ? other.add_to_rows(z_, block_.count(), v_.cols()) : other.add_to_lanes(z_, lanes_, v_.cols());
    }

    /// Writes the rows of the output and the LSE.
    void finish(const StridedView<X>& out, const StridedView<T>& lse) {
        for (Index h = 0; h < block_.heads; ++h) {
            const Index first = h * block_.rows;
            for (Index i = 0; i < block_.rows; ++i) {
                finish_lane(first + i, block_.head + h, lse.data != nullptr);
                if (lse.data != nullptr)
                    problem_.query_slice(lse, block_.sequence, block_.head + h)(block_.row + i, 0) = z_.sum[first + i];
            }
            auto rows = rows_of(problem_, out, block_, h);
            if (few_) {
                for (Index i = 0; i < block_.rows; ++i)
                    scale_row(z_.o + (first + i) * v_.cols(), v_.cols(), z_.factor[first + i],
                              rows.data() + i * rows.outerStride(), rows.innerStride());
            } else {
                lanes_to_rows(z_.o, lanes_, first, z_.factor, block_.rows, v_.cols(), rows.data(), rows.outerStride(),
                              rows.innerStride());
            }
        }
    }

private:
    static constexpr Index w = simd::width<T>;
    static constexpr T infinity = std::numeric_limits<T>::infinity();
    using Scores = BlockScores<T, A, X>;
    using N = typename A::NormalizerFunctor;

    static T exp_of_nonpositive(T x) { return simd::first<T>(detail::exp_of_nonpositive<T>(simd::broadcast(x))); }

    /// The final scores of a tile, and what they raise the maximum to.
    void score_tile(KeyTile<T>& tile, Cover cover, T* s) {
        copy_lanes(z_.largest, lanes_, z_.next);
        if (!tile.has_k) {
            tile.has_k = true;
            // In place: a copy would wait for what has just been written.
            ::new (&tile.k) RowOperand<T>{readable<T>(k_.middleRows(tile.begin, tile.keys), z_.scores.k,
                                                      few_ ? Reading::row_by_row : Reading::once)};
            const Index begin = tile.begin + tile.keys, next = std::min(key_block, block_.key_end - begin);
            if (next > 0) ahead_.soon(v_.middleRows(begin, next), k_.middleRows(begin, next));
        }
        const bool final = scores_.products_are_final && cover == Cover::all;
        scores_.products(tile.k, tile.keys, s, final ? z_.next : nullptr, &ahead_,
                         final && OnlineNormalizer<N> && !problem_.dropout);
        if (final) return;
        scores_.finish(tile.begin, tile.keys, cover, s, [&](const T* lanes) {
            if (few_) return;
            for (Index i = 0; i < lanes_; i += w)
                simd::store(z_.next + i, simd::max(simd::load(z_.next + i), simd::load(lanes + i)));
        });
    }

    /// Scores into weights, with their parts where products go by them.
    void weigh(Index keys, [[maybe_unused]] LaneOperand<T>& weights) {
        if (few_) return weigh_rows(z_, keys, block_.count(), apart_);
#if defined(ATTEND_AMX)
        if constexpr (may_go_by_parts<T, A>) {
            if (scores_.multiplier().by_parts(keys)) {
                weigh_and_split_tile(z_, keys, lanes_);
                if (!problem_.dropout) weights.split = z_.weight_parts;
                return;
            }
        }
#endif
        weigh_tile(z_, keys, lanes_);
    }
    /// Takes in scores that make no weights by their sum.
    void add_to_lse(Index keys) {
        if (!few_) return add_to_sums(z_, keys, lanes_);
        for (Index i = 0; i < block_.count(); ++i) {
            T row[key_block];
            for (Index j = 0; j < keys; ++j) row[j] = z_.s[i * apart_.query + j * apart_.key];
            weigh_row(row, keys, z_.largest[i], z_.sum[i], z_.factor[i]);
        }
    }
    /// Scores into weights, each by itself.
    void weigh_pairs(Index keys) {
        set_lanes(z_.factor, lanes_, T(1));
        for (Index j = 0; j < keys; ++j) {
            T* const s = z_.s + j * apart_.key;
            scores_.for_each_packet(j, [&](Index lane, const Position& p, Index count) {
                const auto scores = Lanes<T>::of(simd::load(s + lane, count, T(0)));
                simd::store<T>(s + lane, attention_.normalizer.weight(scores, p.head).packet, count);
            });
        }
    }
    /// Whole rows of scores into weights; their LSEs stand in `sum` until the end.
    void normalize_rows() {
        const Index n = block_.key_end;
        for (Index lane = 0; lane < block_.count(); ++lane) {
            for (Index j = 0; j < n; ++j) z_.row[j] = z_.s[j * apart_.key + lane];
            const Index head = lane / block_.rows;
            z_.sum[lane] = attention_.normalizer.normalize(
                std::span<T>(z_.row, static_cast<std::size_t>(n)),
                problem_.row_position(block_.sequence, block_.head + head, block_.row + lane % block_.rows));
            for (Index j = 0; j < n; ++j) z_.s[j * apart_.key + lane] = z_.row[j];
        }
        for (Index lane = 0; lane < lanes_; ++lane) z_.factor[lane] = T(1);
    }

    /// o = factor ∘ o + weights after dropout · values.
    void add_weighted_values(KeyTile<T>& tile, Cover cover, LaneOperand<T>& weights) {
        scores_.drop(tile.begin, tile.keys, weights.data);
        const T* const factor = first_ ? nullptr : z_.factor;
        const auto rows = v_.middleRows(tile.begin, tile.keys);
        first_ = false;
        if (!tile.has_v) {
            tile.has_v = true;
            ::new (&tile.rows) BroadcastMatrix<T>(readable(rows, z_.v, few_ ? Reading::row_by_row : Reading::often));
            if (!few_) tile.v = {{tile.rows.data, tile.rows.depth_stride, tile.rows.row_stride}};
        }
        if (cover == Cover::some && !all_finite(tile.rows, tile.keys, v_.cols())) [[unlikely]] {
            add_visible_values(tile, rows, weights, factor);
            tile.has_v = false;
        } else {
            add_values(tile, weights, factor);
        }
    }
    void add_values(KeyTile<T>& tile, LaneOperand<T>& weights, const T* factor) {
        const Index keys = tile.keys;
        if (few_) {
            add_rows<T>({tile.rows.data, tile.rows.row_stride, keys, v_.cols()}, weights.data, block_.count(), apart_,
                        factor, z_.o);
        } else {
            const Products<T>& products = scores_.multiplier();
            RowOperand<T>& v = tile.v;
            if (products.by_parts(keys)) {
                products.prepare(v, v_.cols(), keys, z_.v_parts);
                products.prepare(weights, keys, lanes_, z_.weight_parts);
            }
            products.multiply(v, v_.cols(), keys, weights, lanes_, z_.o, {.factor = factor, .ahead = &ahead_});
        }
    }
    /// The sum of weighted values of a lane and a feature.
    T& output(Index lane, Index a) { return few_ ? z_.o[lane * v_.cols() + a] : z_.o[a * lanes_ + lane]; }
    /// The same with values that are not finite, which a weight of 0 does not hide: they are left out, with the bits
    /// that finite ones would give to those who must not see them, and added to those who see them.
    template <class Rows>
    void add_visible_values(const KeyTile<T>& tile, const Rows& rows, LaneOperand<T>& weights, const T* factor) {
        Eigen::Map<RowMatrix<T>> finite(z_.v, rows.rows(), rows.cols());
        finite = rows.template cast<T>();
        for (T& value : finite.reshaped()) value = std::isfinite(value) ? value : T(0);
        KeyTile<T> without(tile.begin, tile.begin + tile.keys);
        without.rows = {z_.v, rows.cols(), 1};
        without.v = {{z_.v, 1, rows.cols()}};
        add_values(without, weights, factor);
        for (Index j = 0; j < rows.rows(); ++j) {
            for (Index a = 0; a < rows.cols(); ++a) {
                const T value = static_cast<T>(rows(j, a));
                if (std::isfinite(value)) continue;
                for (Index lane = 0; lane < block_.count(); ++lane) {
                    if (!attention_.mask(scores_.position(lane, tile.begin + j))) continue;
                    output(lane, a) += weights.data[j * apart_.key + lane * apart_.query] * value;
                }
            }
        }
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

    const A& attention_;
    const Problem<X>& problem_;
    const LaneBlock& block_;
    bool few_;  ///< features or keys stand in lanes instead of queries
    const StridedView<const Key>& all_keys_;
    Scores scores_;
    Index lanes_;
    const ScoreStrides& apart_;  ///< of the scores of this tile
    const Scratch<T>& z_;
    Slice<const Key> k_;
    Slice<const X> v_;
    ReadAhead& ahead_;
    bool first_ = true;  ///< no tile has been taken in
};

}  // namespace attend::detail::fused

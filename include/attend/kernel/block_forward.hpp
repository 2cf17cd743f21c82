#pragma once
/// \file
/// The fused forward kernel of one block of queries, tile by tile of keys. Queries stand in lanes, so that maximum, sum
/// and rescaling of the online softmax are lane-wise, and keys and values are read where they are.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include <attend/kernel/block_scratch.hpp>
#include <attend/kernel/few_rows.hpp>
#include <attend/kernel/lane_block.hpp>
#include <attend/kernel/micro_kernel.hpp>
#include <attend/kernel/on_lanes.hpp>
#include <attend/kernel/pair_scores.hpp>
#include <attend/kernel/plan.hpp>
#include <attend/kernel/read_ahead.hpp>
#include <attend/kernel/reference.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::detail::fused {

using reference::Block;

/// One block of lanes over its keys.
template <class T, class A, class X>
class BlockForward {
public:
    BlockForward(const A& attention, const Problem<X>& problem, const LaneBlock& block, Index width,
                 const Scratch<T>& scratch)
        : attention_(attention),
          problem_(problem),
          block_(block),
          width_(width),
          lanes_((block.count() + w - 1) / w * w),
          z_(scratch),
          k_(problem.key_slice(problem.k, block.sequence, block.kv_head)),
          v_(problem.key_slice(problem.v, block.sequence, block.kv_head)),
          few_(dot && block.rows <= most_few_queries<T>),
          apart_{1, few_ ? block.count() : lanes_} {}

    /// Asks for what a block will need first, which this worker is likely to take next.
    void expect(const LaneBlock& next) {
        const Index keys = std::min(key_block, next.key_end - next.key_begin);
        ahead_.later(problem_.key_slice(problem_.v, next.sequence, next.kv_head).middleRows(next.key_begin, keys),
                     problem_.key_slice(problem_.k, next.sequence, next.kv_head).middleRows(next.key_begin, keys));
        for (Index h = next.head; h < next.head + next.heads; ++h)
            ahead_.later(problem_.query_slice(problem_.q, next.sequence, h).middleRows(next.row, next.rows));
    }
    /// Asks for the rows that `finish` will write.
    void expect_output(const StridedView<X>& out) {
        for (Index h = block_.head; h < block_.head + (few_ ? 0 : block_.heads); ++h)
            ahead_.later(problem_.query_slice(out, block_.sequence, h).middleRows(block_.row, block_.rows));
    }

    /// Output, sum and maximum of the block's keys, into the scratch.
    void run() {
        load_queries();
        set_lanes(z_.largest, lanes_, std::numeric_limits<T>::lowest());
        set_lanes(z_.sum, lanes_, T(0));
        if constexpr (RowNormalizer<N>) std::fill(z_.s, z_.s + block_.key_end * apart_.key, -infinity);
        bool first = true;
        for_each_tile([&](Index begin, Index keys, Cover cover) {
            T* const s = RowNormalizer<N> ? z_.s + begin * apart_.key : z_.s;
            score_tile(begin, keys, cover, s);
            if constexpr (OnlineNormalizer<N>) {
                few_ ? weigh_rows(z_, keys, block_.count(), apart_) : weigh_tile(z_, keys, lanes_);
            } else if constexpr (PairNormalizer<N>) {
                weigh_pairs(keys);
            } else {
                return;
            }
            add_values(begin, keys, cover, s, first ? nullptr : z_.factor);
            first = false;
        });
        if constexpr (RowNormalizer<N>) {
            normalize_rows();
            for_each_tile([&](Index begin, Index keys, Cover cover) {
                add_values(begin, keys, cover, z_.s + begin * apart_.key, first ? nullptr : z_.factor);
                first = false;
            });
        }
        if (first) std::fill(z_.o, z_.o + v_.cols() * lanes_, T(0));
    }

    void store(const Partial<T>& partial) const {
        std::copy(z_.largest, z_.largest + lanes_, partial.largest);
        std::copy(z_.sum, z_.sum + lanes_, partial.sum);
        std::copy(z_.o, z_.o + v_.cols() * lanes_, partial.o);
    }
    /// Takes in the keys that another task has seen.
    void merge(const Partial<T>& other) {
        for (Index i = 0; i < lanes_; ++i) {
            const T m = std::max(z_.largest[i], other.largest[i]);
            const T mine = exp_of_nonpositive(z_.largest[i] - m), its = exp_of_nonpositive(other.largest[i] - m);
            z_.sum[i] = mine * z_.sum[i] + its * other.sum[i];
            z_.largest[i] = m;
            z_.factor[i] = mine;
            z_.next[i] = its;
        }
        if (few_) {
            for (Index i = 0; i < block_.count(); ++i) {
                for (Index a = i * v_.cols(); a < (i + 1) * v_.cols(); ++a)
                    z_.o[a] = z_.factor[i] * z_.o[a] + z_.next[i] * other.o[a];
            }
        } else {
            for (Index a = 0; a < v_.cols() * lanes_; a += lanes_) {
                for (Index i = 0; i < lanes_; ++i)
                    z_.o[a + i] = z_.factor[i] * z_.o[a + i] + z_.next[i] * other.o[a + i];
            }
        }
    }
    void load(const Partial<T>& partial) const {
        std::copy(partial.largest, partial.largest + lanes_, z_.largest);
        std::copy(partial.sum, partial.sum + lanes_, z_.sum);
        std::copy(partial.o, partial.o + v_.cols() * lanes_, z_.o);
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
            auto rows = problem_.query_slice(out, block_.sequence, block_.head + h).middleRows(block_.row, block_.rows);
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
    using S = typename A::ScoreFunctor;
    using N = typename A::NormalizerFunctor;
    static constexpr bool dot = A::ScoreFunctor::pairing == Pairing::dot;
    /// Without modifiers the products are final scores.
    static constexpr bool products_are_final = dot && A::ModifierChain::count == 0;

    static T exp_of_nonpositive(T x) { return simd::first<T>(detail::exp_of_nonpositive<T>(simd::broadcast(x))); }

    /// Maps the queries and puts them into lanes.
    void load_queries() {
        if constexpr (std::is_same_v<T, X> && requires(const S& score) { score.template query_factor<T>(width_); }) {
            const auto q = problem_.query_slice(problem_.q, block_.sequence, block_.head);
            if (block_.heads == 1 && q.innerStride() == 1) {  // without a stop in between
                const T factor = attention_.score().template query_factor<T>(width_);
                const T* const from = q.data() + block_.row * q.outerStride();
                if (few_) {
                    for (Index i = 0; i < block_.rows; ++i)
                        scale_row(from + i * q.outerStride(), width_, factor, z_.mapped + i * width_, 1);
                } else {
                    rows_to_lanes(from, q.outerStride(), block_.rows, width_, factor, z_.q, lanes_);
                }
                return;
            }
        }
        for (Index h = 0; h < block_.heads; ++h) {
            const auto q = problem_.query_slice(problem_.q, block_.sequence, block_.head + h);
            Block<T> mapped(z_.mapped + h * block_.rows * width_, block_.rows, width_);
            reference::map_queries(attention_.score(), q.middleRows(block_.row, block_.rows), mapped);
        }
        if (!few_) rows_to_lanes(z_.mapped, width_, block_.count(), width_, T(1), z_.q, lanes_);
        if constexpr (ExponentialScore<S, T>)
            q_has_exponentials_ = exponentials_of_lanes<S>(z_.q, z_.e_q, width_, lanes_);
    }

    /// Calls `f(begin, keys, cover)` for the tiles of keys that the mask does not hide.
    template <class F>
    void for_each_tile(F&& f) {
        for (Index begin = block_.key_begin; begin < block_.key_end; begin += key_block) {
            const Index keys = std::min(key_block, block_.key_end - begin);
            const Cover cover = cover_of_tile(begin, keys);
            if (cover == Cover::none) continue;
            const Index next = std::min(key_block, block_.key_end - begin - keys);
            if (next > 0) ahead_.soon(v_.middleRows(begin + keys, next), k_.middleRows(begin + keys, next));
            f(begin, keys, cover);
        }
    }

    Tile tile(Index head, Index row, Index rows, Index begin, Index keys) const {
        const Index query = problem_.shape.query_offset + block_.row + row;
        return {query,          query + rows,   begin, begin + keys, block_.row + row, block_.head + head,
                block_.kv_head, block_.sequence};
    }
    Cover cover_of_tile(Index begin, Index keys) const {
        const Cover cover = cover_of(attention_.mask, tile(0, 0, block_.rows, begin, keys));
        for (Index h = 1; h < block_.heads; ++h) {
            if (cover_of(attention_.mask, tile(h, 0, block_.rows, begin, keys)) != cover) return Cover::some;
        }
        return cover;
    }
    Position position(Index lane, Index key) const {
        const Index head = lane / block_.rows;
        return problem_.row_position(block_.sequence, block_.head + head, block_.row + lane - head * block_.rows)
            .at(key);
    }

    /// Whether a readable tile holds neither NaN nor infinity: those times 0 are not 0.
    static bool all_finite(const BroadcastMatrix<T>& x, Index rows, Index columns) {
        const bool down = x.depth_stride != 1;
        const Index stride = down ? x.depth_stride : x.row_stride, runs = down ? columns : rows;
        const Index length = down ? rows : columns;
        auto sum = simd::broadcast(T(0));
        T rest(0);
        for (Index i = 0; i < runs; ++i) {
            const T* const run = x.data + i * stride;
            Index a = 0;
            for (; a + w <= length; a += w) sum = simd::madd(simd::load(run + a), simd::broadcast(T(0)), sum);
            for (; a < length; ++a) rest += run[a] * T(0);
        }
        return simd::sum<T>(sum) + rest == T(0);
    }

    /// A tile of operand rows as the micro-kernel reads it: in place where that is fast, otherwise through a copy in
    /// `scratch`. What is read `often` is copied too where its rows would crowd each other out of the cache, which they
    /// do when they stand a large power of two apart.
    template <class Rows>
    BroadcastMatrix<T> readable(const Rows& rows, T* scratch, bool often) const {
        if constexpr (std::is_same_v<T, X>) {
            if (rows.innerStride() == 1) {
                const Index stride = rows.outerStride();
                constexpr Index crowding = 512 / sizeof(T);
                if (!often || few_ || stride <= rows.cols() || stride % crowding != 0) return {rows.data(), stride, 1};
                for (Index i = 0; i < rows.rows(); ++i)
                    std::copy_n(rows.data() + i * stride, rows.cols(), scratch + i * rows.cols());
                return {scratch, rows.cols(), 1};
            }
            if (rows.outerStride() == 1 && !few_) {  // column-major: the copy stays so
                Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>> copy(scratch, rows.rows(), rows.cols());
                for (Index a = 0; a < rows.cols(); ++a) {
                    copy.col(a) = Eigen::Map<const ColumnVector<T>>(rows.data() + a * rows.innerStride(), rows.rows());
                }
                return {scratch, 1, rows.rows()};
            }
        }
        Block<T> copy(scratch, rows.rows(), rows.cols());
        copy = rows.template cast<T>();
        return {scratch, rows.cols(), 1};
    }

    /// The final scores of a tile, and what they raise the maximum to.
    void score_tile(Index begin, Index keys, Cover cover, T* s) {
        copy_lanes(z_.largest, lanes_, z_.next);
        const BroadcastMatrix<T> k = mapped_keys(k_.middleRows(begin, keys));
        const bool final = products_are_final && cover == Cover::all;
        if (few_) {
            // What changes scores wants the queries side by side, a softmax the keys.
            apart_ = final && OnlineNormalizer<N> ? ScoreStrides{z_.tile, 1} : ScoreStrides{1, block_.count()};
            dot_rows<T>({k.data, k.row_stride, keys, width_}, z_.mapped, block_.count(), s, apart_);
        } else if constexpr (dot) {
            multiply(k, keys, width_, z_.q, lanes_, s, {.largest = final ? z_.next : nullptr, .ahead = &ahead_});
        } else {
            pair_tile(k, keys, s);
        }
        if (final) return;
        constexpr bool modifies_tiles = any_tile_modifier<decltype(attention_.modifiers.each), T>;
        if constexpr (modifies_tiles) modify_tile(s, begin, keys);
        for (Index j = 0; j < keys; ++j, s += apart_.key) {
            if constexpr (!products_are_final && !modifies_tiles) modify(s, begin + j, attention_.modifiers.each);
            if (cover == Cover::some) mask(s, begin + j);
            if (few_) continue;
            for (Index i = 0; i < lanes_; i += w)
                simd::store(z_.next + i, simd::max(simd::load(z_.next + i), simd::load(s + i)));
        }
    }
    template <class Rows>
    BroadcastMatrix<T> mapped_keys(const Rows& rows) const {
        Block<T> mapped(z_.k, rows.rows(), width_);
        if constexpr (requires { attention_.score().map_keys(rows, mapped); }) {
            attention_.score().map_keys(rows, mapped);
            return {z_.k, width_, 1};
        } else {
            return readable(rows, z_.k, false);
        }
    }
    void pair_tile(const BroadcastMatrix<T>& k, Index keys, T* to) {
        const S& score = attention_.score();
        if constexpr (ExponentialScore<S, T>) {
            // Each pair by itself: its bits must not depend on the queries and keys beside it.
            const bool all = q_has_exponentials_ && are_small<S>(z_.k, keys * width_);
            if (!all) add_pairs(score, PairTile<T>{k, z_.q, width_, lanes_}, keys, to);
            exponentials_of_rows<S>(z_.k, keys, width_);
            add_exponentials(score, PairTile<T>{k, z_.e_q, width_, lanes_}, keys, all, to);
        } else {
            add_pairs(score, PairTile<T>{k, z_.q, width_, lanes_}, keys, to);
        }
    }

    /// Calls `f(lane, position, count)` for the packets of queries of each head: `position` is the first one's.
    template <class F>
    void for_each_packet(Index key, F&& f) const {
        for (Index h = 0; h < block_.heads; ++h) {
            const Position first = problem_.row_position(block_.sequence, block_.head + h, block_.row).at(key);
            for (Index i = 0; i < block_.rows; i += w) {
                Position p = first;
                p.query += i;
                p.row += i;
                f(h * block_.rows + i, p, std::min(w, block_.rows - i));
            }
        }
    }
    void modify(T* s, Index key, const auto& modifiers) {
        for_each_packet(key, [&](Index lane, const Position& p, Index count) {
            const auto scores = Lanes<T>::of(simd::load(s + lane, count, T(0)));
            simd::store<T>(s + lane, on_lanes(modifiers, scores, lanes_of(p, count)).packet, count);
        });
    }
    /// One modifier after the other, where one of them wants more than a key at a time.
    void modify_tile(T* s, Index begin, Index keys) {
        const auto one = [&](const auto& modifier) {
            if constexpr (TileModifier<std::remove_cvref_t<decltype(modifier)>, T>) {
                for_each_packet(begin, [&](Index lane, const Position& p, Index count) {
                    modifier.on_tile(s + lane, apart_.key, keys, lanes_of(p, count));
                });
            } else {
                for (Index j = 0; j < keys; ++j) modify(s + j * apart_.key, begin + j, modifier);
            }
        };
        std::apply([&](const auto&... modifier) { (one(modifier), ...); }, attention_.modifiers.each);
    }
    static LanePosition<T> lanes_of(const Position& p, Index count) {
        return {{p.query, 1, count}, p.key, {p.row, 1, count}, p.head, p.kv_head, p.sequence};
    }
    /// Asks for a packet of queries at a time first: on the edge of a causal tile one in four is cut.
    void mask(T* s, Index key) {
        for_each_packet(key, [&](Index lane, Position p, Index count) {
            const Cover cover = cover_of(
                attention_.mask, Tile{p.query, p.query + count, key, key + 1, p.row, p.head, p.kv_head, p.sequence});
            if (cover == Cover::all) return;
            const auto hidden = simd::broadcast(-infinity);
            if (cover == Cover::none) {
                simd::store<T>(s + lane, hidden, count);
            } else if constexpr (LaneWiseMask<std::remove_cvref_t<decltype(attention_.mask)>, T>) {
                const auto scores = simd::load<T>(s + lane, count, -infinity);
                const LaneMask<T> kept = attention_.mask(lanes_of(p, count));
                simd::store<T>(s + lane, simd::select(kept.packet, scores, hidden), count);
            } else {
                for (Index i = lane; i < lane + count; ++i, ++p.query, ++p.row)
                    s[i] = attention_.mask(p) ? s[i] : -infinity;
            }
        });
    }

    /// Scores into weights, each by itself.
    void weigh_pairs(Index keys) {
        for (Index lane = 0; lane < lanes_; ++lane) z_.factor[lane] = T(1);
        for (Index j = 0; j < keys; ++j) {
            T* const s = z_.s + j * apart_.key;
            if (block_.heads > 1 || few_) {
                for (Index lane = 0; lane < block_.count(); ++lane)
                    s[lane] = attention_.normalizer.weight(s[lane], block_.head + lane / block_.rows);
            } else {
                for (Index i = 0; i < lanes_; i += w) {
                    simd::store(s + i,
                                attention_.normalizer.weight(Lanes<T>::of(simd::load(s + i)), block_.head).packet);
                }
            }
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

    /// o = factor ∘ o + weights · values.
    void add_values(Index begin, Index keys, Cover cover, const T* weights, const T* factor) {
        const auto rows = v_.middleRows(begin, keys);
        const BroadcastMatrix<T> v = readable(rows, z_.v, true);
        if (cover == Cover::some && !all_finite(v, keys, v_.cols())) [[unlikely]] {
            add_visible_values(rows, begin, weights, factor);
        } else {
            add_values(v, keys, weights, factor);
        }
    }
    void add_values(const BroadcastMatrix<T>& v, Index keys, const T* weights, const T* factor) {
        if (few_) {
            add_rows<T>({v.data, v.row_stride, keys, v_.cols()}, weights, block_.count(), apart_, factor, z_.o);
        } else {
            multiply<T>({v.data, v.depth_stride, v.row_stride}, v_.cols(), keys, weights, lanes_, z_.o,
                        {.factor = factor, .ahead = &ahead_});
        }
    }
    /// The sum of weighted values of a lane and a feature.
    T& output(Index lane, Index a) { return few_ ? z_.o[lane * v_.cols() + a] : z_.o[a * lanes_ + lane]; }
    /// The same with values that are not finite, which a weight of 0 does not hide: they are left out, with the bits
    /// that finite ones would give to those who must not see them, and added to those who see them.
    template <class Rows>
    void add_visible_values(const Rows& rows, Index begin, const T* weights, const T* factor) {
        Block<T> finite(z_.v, rows.rows(), rows.cols());
        finite = rows.template cast<T>();
        for (T& value : finite.reshaped()) value = std::isfinite(value) ? value : T(0);
        add_values({z_.v, rows.cols(), 1}, rows.rows(), weights, factor);
        for (Index j = 0; j < rows.rows(); ++j) {
            for (Index a = 0; a < rows.cols(); ++a) {
                const T value = static_cast<T>(rows(j, a));
                if (std::isfinite(value)) continue;
                for (Index lane = 0; lane < block_.count(); ++lane) {
                    if (!attention_.mask(position(lane, begin + j))) continue;
                    output(lane, a) += weights[j * apart_.key + lane * apart_.query] * value;
                }
            }
        }
    }

    /// Sets by what `factor` the sums of a lane become its output, and `sum` to its LSE if that is wanted.
    void finish_lane(Index i, Index head, bool wants_lse) {
        if constexpr (!OnlineNormalizer<N>) {
            z_.factor[i] = T(1);
        } else {
            T m = z_.largest[i], l = z_.sum[i];
            if (l == T(0)) {  // nothing seen
                z_.factor[i] = T(0);
                z_.sum[i] = -infinity;
                return;
            }
            z_.factor[i] = T(1) / l;
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
    Index width_, lanes_;
    const Scratch<T>& z_;
    Slice<const X> k_, v_;
    bool q_has_exponentials_ = false;
    bool few_;            ///< features or keys stand in lanes instead of queries
    ScoreStrides apart_;  ///< of the scores of this tile
    ReadAhead ahead_;
};

}  // namespace attend::detail::fused

#pragma once
/// \file
/// The fused backward kernel of one block of queries, tile by tile of keys: with the two products of the scores'
/// gradients, five (of an additive score, two and its pairs) make all of them.

#include <algorithm>
#include <cmath>
#include <limits>

#include <attend/kernel/backward_scratch.hpp>
#include <attend/kernel/block_score_gradients.hpp>
#include <attend/parts/pair_gradients.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// What a block adds to the gradients without its attention: the rows of q and of dout as operands, and the products.
template <class T, class X, class E>
class BlockProducts {
public:
    const BlockRows<T, X>& rows;
    const BackwardScratch<T>& z;
    const KeyGradients<T>& keys;
    const Products<T, E>& products;
    Index width, d_v;
    LaneOperand<T> dout{}, q{};  ///< rows of dout and of q
    bool finite = true;          ///< all features of the queries and all of dout are

    BlockProducts(const BlockRows<T, X>& rows_, const BackwardScratch<T>& scratch, const KeyGradients<T>& keys_,
                  const Products<T, E>& products_, Index width_)
        : rows(rows_), z(scratch), keys(keys_), products(products_), width(width_), d_v(rows.problem.shape.d_v) {}

    /// What stands behind the rows of q and of dout in their packets.
    ATTEND_NOINLINE void clear() const {
        const Index q_stride = z.scores.mapped_stride, dout_stride = keys.dv_stride;
        std::fill_n(z.ones, std::max({rows.lanes, q_stride, dout_stride}), T(1));
        if (q_stride > width) std::fill_n(z.scores.mapped, rows.lanes * q_stride, T(0));
        if (dout_stride > d_v) std::fill_n(z.dout_rows, rows.lanes * dout_stride, T(0));
    }
    /// Puts the block's rows of dout into place, and into lanes; the features of q stand there already. An empty row,
    /// whose LSE is −∞, has no gradients, whatever its dout.
    ATTEND_NOINLINE void load(const StridedView<const X>& douts, const StridedView<const T>& lses) {
        const Index count = rows.block.count(), q_stride = z.scores.mapped_stride, dout_stride = keys.dv_stride;
        for (Index h = 0; h < rows.block.heads; ++h) {
            T* const to = z.dout_rows + h * rows.block.rows * dout_stride;
            copy_rows(rows.of(douts, h), T(1), to, dout_stride);
            const auto lse = rows.of(lses, h);
            for (Index i = 0; i < rows.block.rows; ++i) {
                if (lse(i, 0) == -std::numeric_limits<T>::infinity()) std::fill_n(to + i * dout_stride, d_v, T(0));
            }
        }
        rows_to_lanes(z.dout_rows, dout_stride, count, d_v, T(1), z.dout, rows.lanes);
        finite = all_finite<T>({z.scores.mapped, q_stride, 1}, count, width) &&
                 all_finite<T>({z.dout_rows, dout_stride, 1}, count, d_v);
        if (!finite) [[unlikely]] {  // what is not finite is added pair by pair
            keep_finite(z.scores.mapped, count * q_stride);
            keep_finite(z.dout_rows, count * dout_stride);
        }
        dout = {z.dout_rows};
        q = {z.scores.mapped};
        products.prepare(dout, count, dout_stride, z.packed_dout);
        // The gradients of scores may cancel in their sums: rounded, they would lose more than weights do.
        if constexpr (!RoundingEngine<E>) products.prepare(q, count, q_stride, z.packed_q);
    }

    /// to (keys × stride) = add ∘ to + x · operand, where x is p or ds.
    ATTEND_NOINLINE void add_product(const T* x, Index count, const LaneOperand<T>& operand, Index stride, T* to,
                                     const T* add) const {
        RowOperand<T> a{{x, rows.lanes, 1}};
        if (operand.packed != nullptr) products.prepare(a, count, rows.block.count(), z.packed_weights);
        products.multiply(a, count, rows.block.count(), operand, stride, to, {.factor = add});
    }
    /// dq = add ∘ dq + ds · k of a tile, which a mask may cut, and a range of lanes.
    ATTEND_NOINLINE void add_to_queries(const StridedMatrix<T>& k, Index begin, Index count, const LaneRange& range,
                                        bool cut, T* ds, const T* add, const PairTest& sees) const {
        if (cut && !all_finite(k, count, width)) [[unlikely]]
            return add_visible_keys(k, begin, count, ds, add, sees);
        products.multiply({{k.data, k.depth_stride, k.row_stride}}, width, count, {ds}, rows.lanes, range, z.dq,
                          {.factor = add});
    }
    /// What is not finite of the queries and of dout, for the keys that these queries see.
    ATTEND_NOINLINE void add_visible_rows(Index begin, Index count, const T* p, const T* ds, T* dk, T* dv, bool dot,
                                          const PairTest& sees) const {
        const auto add = [&](const T* from, Index columns, const T* factors, T* to, Index stride) {
            for (Index a = 0; a < columns; ++a) {
                for (Index lane = 0; lane < rows.block.count(); ++lane) {
                    const T value = from[a * rows.lanes + lane];
                    if (std::isfinite(value)) continue;
                    for (Index j = 0; j < count; ++j) {
                        if (sees(rows.position(lane, begin + j)))
                            to[j * stride + a] += factors[j * rows.lanes + lane] * value;
                    }
                }
            }
        };
        add(z.dout, d_v, p, dv, keys.dv_stride);
        if (dot) add(z.scores.q, width, ds, dk, keys.dk_stride);
    }

private:
    static void keep_finite(T* x, Index size) {
        for (Index i = 0; i < size; ++i) x[i] = std::isfinite(x[i]) ? x[i] : T(0);
    }
    /// With keys that are not finite: those that a query must not see are left out, the others reach it.
    void add_visible_keys(const StridedMatrix<T>& k, Index begin, Index count, const T* ds, const T* add,
                          const PairTest& sees) const {
        const auto each = [&](auto&& f) {
            for (Index j = 0; j < count; ++j) {
                for (Index a = 0; a < width; ++a) f(j, a, k.data[j * k.row_stride + a * k.depth_stride]);
            }
        };
        each([&](Index j, Index a, T value) { z.k_finite[j * width + a] = std::isfinite(value) ? value : T(0); });
        products.engine.multiply(StridedMatrix<T>{z.k_finite, 1, width}, width, count, ds, rows.lanes, z.dq,
                                 ProductOptions<T>{.factor = add});
        each([&](Index j, Index a, T value) {
            if (std::isfinite(value)) return;
            for (Index lane = 0; lane < rows.block.count(); ++lane) {
                if (sees(rows.position(lane, begin + j)))
                    z.dq[a * rows.lanes + lane] += ds[j * rows.lanes + lane] * value;
            }
        });
    }
};

/// One block of lanes over its keys.
template <class T, class A, class X, class Source>
class BlockBackward {
public:
    BlockBackward(const A& attention, const Problem<X>& problem, const Source& source, const Gradients<T, X>& gradients,
                  const ParameterGradients<A>& parameters, const LaneBlock& block, Index width,
                  const BackwardScratch<T>& scratch, const KeyGradients<T>& key_gradients)
        : attention_(attention),
          gradients_(gradients),
          parameters_(parameters),
          rows_(problem, block),
          head_(source.head(problem.key_rows(block.sequence, block.kv_head))),
          scores_(attention, engine_of<Source, T, X>(attention), rows_, width, false, 0, scratch.scores),
          score_gradients_(attention, gradients, parameters, rows_, head_, scores_, scratch),
          z_(scratch),
          keys_(key_gradients),
          products_(rows_, scratch, key_gradients, scores_.engine(), width) {}

    /// Adds the gradients of the block's queries, of all its keys and of the parameters.
    void run() {
        [[maybe_unused]] const auto session = scores_.engine().session();
        products_.clear();
        scores_.load_queries(true);
        products_.load(gradients_.dout, gradients_.lse);
        score_gradients_.load_dout();
        bool begun = false;  // dq
        const auto begin_queries = [&] {
            std::fill_n(z_.dq, products_.width * rows_.lanes, T(0));
            begun = true;
        };
        score_gradients_.for_each_tile(
            Scores::dot && products_.finite,
            [&](Index begin, Index keys, Cover cover, const LaneRange& range, T* ds) {
                if constexpr (!Scores::dot) return;
                if (!begun && range.count() < rows_.lanes) begin_queries();
                products_.add_to_queries(score_gradients_.keys_of_tile(begin, keys), begin, keys, range,
                                         cover == Cover::some, ds, begun ? z_.ones : nullptr,
                                         PairTest(attention_.mask));
                begun = true;
            },
            [&](Index begin, Index keys, const T* p, const T* ds) {
                if (!begun) begin_queries();  // as features are paired one by one, or no range saw a key of the tile
                add_to_keys(begin, keys, p, ds);
            });
        if (begun) add_query_gradients();
    }

private:
    using E = ForwardEngine<T, A, X, Source>;
    using Scores = BlockScores<T, A, X, E>;

    /// dv += p · dout and dk += ds · q of a tile; where features are paired one by one, their gradients.
    void add_to_keys(Index begin, Index keys, const T* p, const T* ds) {
        bool& touched = keys_.touched[begin / key_block];
        const T* const add = touched ? z_.ones : nullptr;
        touched = true;
        T *const dk = keys_.dk + begin * keys_.dk_stride, *const dv = keys_.dv + begin * keys_.dv_stride;
        products_.add_product(p, keys, products_.dout, keys_.dv_stride, dv, add);
        if constexpr (Scores::dot) {
            products_.add_product(ds, keys, products_.q, keys_.dk_stride, dk, add);
        } else {
            if (add == nullptr) std::fill_n(dk, keys * keys_.dk_stride, T(0));
            const StridedMatrix<T> k = score_gradients_.keys_of_tile(begin, keys);
            add_pair_gradients(attention_.score(), scores_.pair_tiles(k, keys), keys, ds, z_.dq, dk, keys_.dk_stride,
                               parameters_.score);
        }
        if (!products_.finite) [[unlikely]]
            products_.add_visible_rows(begin, keys, p, ds, dk, dv, Scores::dot, PairTest(attention_.mask));
    }

    /// The gradients of the features into those of the queries.
    void add_query_gradients() const {
        T* const mapped = z_.scores.mapped;
        const Index stride = z_.scores.mapped_stride, count = rows_.block.rows;
        for (Index h = 0; h < rows_.block.heads; ++h) {
            lanes_to_rows(z_.dq, rows_.lanes, h * count, z_.ones, count, products_.width, mapped, stride, Index(1));
            with_view(gradients_.dq, [&](const auto& view) {
                auto dq = rows_.of(view, h);
                if constexpr (ScalesQueries<typename A::ScoreFunctor, T>) {
                    add_rows(mapped, stride, scores_.query_factor_taken(), dq);
                } else {
                    const StridedBlock<T> dmapped(mapped, count, products_.width, Eigen::OuterStride<>(stride));
                    map_queries_backward(attention_.score(), rows_.of(rows_.problem.q, h), dmapped, dq,
                                         parameters_.score);
                }
            });
        }
    }

    const A& attention_;
    const Gradients<T, X>& gradients_;
    ParameterGradients<A> parameters_;
    BlockRows<T, X> rows_;
    typename Source::Head head_;
    Scores scores_;
    BlockScoreGradients<T, A, X, E, typename Source::Head> score_gradients_;
    const BackwardScratch<T>& z_;
    const KeyGradients<T>& keys_;
    BlockProducts<T, X, E> products_;
};

}  // namespace attend::detail::fused

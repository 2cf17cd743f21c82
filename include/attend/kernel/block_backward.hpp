#pragma once
/// \file
/// The fused backward kernel of one block of queries, tile by tile of keys: with the two products of the scores'
/// gradients, five (of an additive score, two and its pairs) make all of them.

#include <algorithm>
#include <cmath>

#include <attend/kernel/block_score_gradients.hpp>
#include <attend/kernel/key_gradients.hpp>
#include <attend/kernel/pair_gradients.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// One block of lanes over its keys.
template <class T, class A, class X>
class BlockBackward {
public:
    BlockBackward(const A& attention, const Problem<X>& problem, const Gradients<T, A, X>& gradients,
                  const LaneBlock& block, Index width, const BackwardScratch<T>& scratch,
                  const KeyGradients<T>& key_gradients)
        : attention_(attention),
          problem_(problem),
          gradients_(gradients),
          block_(block),
          width_(width),
          d_v_(problem.shape.d_v),
          scores_(attention, problem, gradients.keys, block, width, false, scratch.scores),
          lanes_(scores_.lanes()),
          score_gradients_(attention, problem, gradients, block, scores_, width, scratch),
          z_(scratch),
          keys_(key_gradients) {}

    /// Adds the gradients of the block's queries, of all its keys and of the parameters.
    void run() {
        const amx::Tiles tiles(scores_.multiplier().by_parts());
        load();
        bool first = true;
        score_gradients_.for_each_tile([&](Index begin, Index keys, Cover cover, const T* p, const T* ds) {
            add_products(begin, keys, cover, p, ds, first);
            first = false;
        });
        if (!first) add_query_gradients();
    }

private:
    using Scores = BlockScores<T, A, X>;

    /// Puts the block's rows of q and dout into place, and into lanes.
    void load() {
        const Index count = block_.count(), q_stride = z_.scores.mapped_stride, dout_stride = keys_.dv_stride;
        std::fill(z_.ones, z_.ones + std::max({lanes_, q_stride, dout_stride}), T(1));
        if (q_stride > width_) std::fill(z_.scores.mapped, z_.scores.mapped + lanes_ * q_stride, T(0));
        if (dout_stride > d_v_) std::fill(z_.dout_rows, z_.dout_rows + lanes_ * dout_stride, T(0));
        scores_.load_queries(true);
        for (Index h = 0; h < block_.heads; ++h) {
            StridedBlock<T>(z_.dout_rows + h * block_.rows * dout_stride, block_.rows, d_v_,
                            Eigen::OuterStride<>(dout_stride)) =
                rows_of(problem_, gradients_.dout, block_, h).template cast<T>();
        }
        rows_to_lanes(z_.dout_rows, dout_stride, count, d_v_, T(1), z_.dout, lanes_);
        finite_ = all_finite<T>({z_.scores.mapped, q_stride, 1}, count, width_) &&
                  all_finite<T>({z_.dout_rows, dout_stride, 1}, count, d_v_);
        if (!finite_) [[unlikely]] {  // what is not finite is added pair by pair
            keep_finite(z_.scores.mapped, count * q_stride);
            keep_finite(z_.dout_rows, count * dout_stride);
        }
        dout_ = {z_.dout_rows};
        q_ = {z_.scores.mapped};
        scores_.multiplier().prepare(dout_, count, dout_stride, z_.dout_parts);
        scores_.multiplier().prepare(q_, count, q_stride, z_.q_parts);
    }
    static void keep_finite(T* x, Index size) {
        for (Index i = 0; i < size; ++i) x[i] = std::isfinite(x[i]) ? x[i] : T(0);
    }

    /// dv += p · dout, dk += ds · q and dq += ds · k of a tile.
    void add_products(Index begin, Index keys, Cover cover, const T* p, const T* ds, bool first) {
        bool& touched = keys_.touched[begin / key_block];
        const T* const add = touched ? z_.ones : nullptr;
        touched = true;
        T *const dk = keys_.dk + begin * keys_.dk_stride, *const dv = keys_.dv + begin * keys_.dv_stride;
        add_product(p, keys, dout_, keys_.dv_stride, dv, add);
        const BroadcastMatrix<T> k = score_gradients_.keys_of_tile(begin, keys);
        if constexpr (Scores::dot) {
            add_product(ds, keys, q_, keys_.dk_stride, dk, add);
            const T* const add_dq = first ? nullptr : z_.ones;
            if (cover == Cover::some && !all_finite(k, keys, width_)) [[unlikely]] {
                add_key_products(k, begin, keys, ds, add_dq);
            } else {
                multiply<T>({k.data, k.depth_stride, k.row_stride}, width_, keys, ds, lanes_, z_.dq,
                            {.factor = add_dq});
            }
        } else {
            if (first) std::fill(z_.dq, z_.dq + width_ * lanes_, T(0));
            if (add == nullptr) std::fill(dk, dk + keys * keys_.dk_stride, T(0));
            auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->score();
            add_pair_gradients(attention_.score(), scores_.pair_tiles(k, keys), keys, ds, z_.dq, dk, keys_.dk_stride,
                               gradient);
        }
        if (!finite_) [[unlikely]]
            add_visible_rows(begin, keys, p, ds, dk, dv);
    }
    /// to (keys × stride) = add ∘ to + x · rows, where x is p or ds.
    void add_product(const T* x, Index keys, const LaneOperand<T>& rows, Index stride, T* to, const T* add) const {
        const Products<T>& products = scores_.multiplier();
        RowOperand<T> a{{x, lanes_, 1}};
        products.prepare(a, keys, block_.count(), z_.weight_parts);
        products.multiply(a, keys, block_.count(), rows, stride, to, {.factor = add});
    }
    /// dq += ds · k with keys that are not finite: those that a query must not see are left out, the others reach it.
    void add_key_products(const BroadcastMatrix<T>& k, Index begin, Index keys, const T* ds, const T* add_dq) const {
        const auto each = [&](auto&& f) {
            for (Index j = 0; j < keys; ++j) {
                for (Index a = 0; a < width_; ++a) f(j, a, k.data[j * k.row_stride + a * k.depth_stride]);
            }
        };
        each([&](Index j, Index a, T value) { z_.k_finite[j * width_ + a] = std::isfinite(value) ? value : T(0); });
        multiply<T>({z_.k_finite, 1, width_}, width_, keys, ds, lanes_, z_.dq, {.factor = add_dq});
        each([&](Index j, Index a, T value) {
            if (std::isfinite(value)) return;
            for (Index lane = 0; lane < block_.count(); ++lane) {
                if (attention_.mask(scores_.position(lane, begin + j)))
                    z_.dq[a * lanes_ + lane] += ds[j * lanes_ + lane] * value;
            }
        });
    }
    /// What is not finite of the queries and of dout, for the keys that these queries see.
    void add_visible_rows(Index begin, Index keys, const T* p, const T* ds, T* dk, T* dv) const {
        const auto add = [&](const T* from, Index columns, const T* factors, T* to, Index stride) {
            for (Index a = 0; a < columns; ++a) {
                for (Index lane = 0; lane < block_.count(); ++lane) {
                    const T value = from[a * lanes_ + lane];
                    if (std::isfinite(value)) continue;
                    for (Index j = 0; j < keys; ++j) {
                        if (attention_.mask(scores_.position(lane, begin + j)))
                            to[j * stride + a] += factors[j * lanes_ + lane] * value;
                    }
                }
            }
        };
        add(z_.dout, d_v_, p, dv, keys_.dv_stride);
        if constexpr (Scores::dot) add(z_.scores.q, width_, ds, dk, keys_.dk_stride);
    }

    /// The gradients of the features into those of the queries.
    void add_query_gradients() const {
        T* const mapped = z_.scores.mapped;
        const Index stride = z_.scores.mapped_stride;
        auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->score();
        for (Index h = 0; h < block_.heads; ++h) {
            lanes_to_rows(z_.dq, lanes_, h * block_.rows, z_.ones, block_.rows, width_, mapped, stride, Index(1));
            const StridedBlock<T> dmapped(mapped, block_.rows, width_, Eigen::OuterStride<>(stride));
            auto dq = rows_of(problem_, gradients_.dq, block_, h);
            reference::map_queries_backward(attention_.score(), rows_of(problem_, problem_.q, block_, h), dmapped, dq,
                                            gradient);
        }
    }

    const A& attention_;
    const Problem<X>& problem_;
    const Gradients<T, A, X>& gradients_;
    const LaneBlock& block_;
    Index width_, d_v_;
    Scores scores_;
    Index lanes_;
    BlockScoreGradients<T, A, X> score_gradients_;
    const BackwardScratch<T>& z_;
    const KeyGradients<T>& keys_;
    LaneOperand<T> dout_{}, q_{};  ///< rows of dout and of q
    bool finite_ = true;           ///< all features of the queries and all of dout are
};

}  // namespace attend::detail::fused

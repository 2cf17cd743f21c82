#pragma once
/// \file
/// Backward calls so small that to plan them, and to put their queries into lanes, would take longer than to compute
/// them: keys stand in lanes, and five products make all gradients. To the bits of the fused kernel.

#include <algorithm>
#include <cmath>
#include <limits>

#include <attend/call/checks.hpp>
#include <attend/core/operand_rows.hpp>
#include <attend/core/row_lanes.hpp>
#include <attend/engine/fastest.hpp>
#include <attend/kernel/direct.hpp>
#include <attend/parts/fold_gradients.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Of products that are final scores, and of weights whose gradients go by δ alone.
template <class T, class A, class X>
concept DirectlyBackward =
    Direct<T, A, X> && std::same_as<typename A::EngineType, Fastest> && A::ModifierChain::count == 0 &&
    !requires(const typename A::NormalizerFunctor& fold, Lanes<T> x, typename A::NormalizerFunctor* gradient) {
        fold.backward(x, x, x, x, Index(), gradient);
    };

/// One head after the other. Each is looked at before anything is written.
template <class T, class A>
class DirectBackward {
public:
    DirectBackward(const A& attention, const Problem<T>& problem, const BackwardInputs<T>& inputs)
        : attention_(attention), problem_(problem), inputs_(inputs) {}

    static bool serves(const Problem<T>& problem, const BackwardInputs<T>& inputs, const auto& options) {
        const Shape& s = problem.shape;
        const Index width = std::max(s.d_q, s.d_v);
        if (options.gradient != nullptr || inputs.dlse.data != nullptr || inputs.dweights.data != nullptr) return false;
        if (problem.ragged() || options.key_sequences || problem.dropout || problem.own_positions()) return false;
        if (s.heads != s.kv_heads || std::min({s.queries, s.keys, s.d_q, s.d_v}) == 0) return false;
        if (s.queries > most_queries || s.keys > most_keys || width > most_width) return false;
        // Queries that fill half a packet's lanes are as fast there, but for what it takes to plan.
        const bool few = w > 2 && s.queries <= w / 2, little = s.queries * s.keys * width <= 128 * w;
        return (few || little) && simd::padded<T>(s.keys) * simd::padded<T>(width) <= most_of_keys;
    }

    /// False, and nothing is written, where a mask cuts a head, or the fused kernel would take numbers one by one.
    bool run(Output<T>& dq_output, Output<T>& dk_output, Output<T>& dv_output) {
        const Shape& shape = problem_.shape;
        for (Index s = 0; s < shape.sequences; ++s) {
            for (Index h = 0; h < shape.heads; ++h) {
                if (!is_plain(s, h)) return false;
            }
        }
        const StridedView<T> dq = problem_.query_output(dq_output, shape.d_q),
                             dk = problem_.key_output(dk_output, shape.d_k),
                             dv = problem_.key_output(dv_output, shape.d_v);
        for (Index s = 0; s < shape.sequences; ++s) {
            for (Index h = 0; h < shape.heads; ++h) add_head(s, h, dq, dk, dv);
        }
        return true;
    }

private:
    static constexpr Index w = simd::width<T>, most_queries = 8, most_keys = 64, most_width = 64, most_of_keys = 2048;

    /// Whether all queries see all keys, and their numbers are finite and their LSEs exact.
    bool is_plain(Index s, Index h) const {
        const Shape& shape = problem_.shape;
        const Index offset = problem_.query_offset(s);
        const Tile all{offset, offset + shape.queries, 0, shape.keys, 0, h, h, s};
        if (cover_of(attention_.mask, all) != Cover::all) return false;
        const auto lse = problem_.query_slice(inputs_.lse, s, h);
        for (Index i = 0; i < shape.queries; ++i) {
            if (!(std::abs(lse(i, 0)) <= precise_lse<T>)) return false;
        }
        return is_finite(problem_.query_slice(problem_.q, s, h)) && is_finite(problem_.query_slice(inputs_.dout, s, h));
    }
    template <class Rows>
    static bool is_finite(const Rows& x) {
        const bool by_columns = is_column_major<T>(x);
        const Index lines = by_columns ? x.cols() : x.rows(), size = by_columns ? x.rows() : x.cols(),
                    apart = by_columns ? x.innerStride() : x.outerStride();
        if (!by_columns && x.innerStride() != 1) return x.allFinite();
        return apart == size ? all_finite<T>({x.data(), 0, 1}, 1, lines * size)
                             : all_finite<T>({x.data(), apart, 1}, lines, size);
    }

    ATTEND_NOINLINE void add_head(Index s, Index h, const StridedView<T>& dq_view, const StridedView<T>& dk_view,
                                  const StridedView<T>& dv_view) {
        const Index n = problem_.shape.queries, m = problem_.shape.keys, lanes = simd::padded<T>(m);
        const Index width = problem_.shape.d_q, d_v = problem_.shape.d_v;
        const auto k = problem_.key_slice(problem_.k, s, h), v = problem_.key_slice(problem_.v, s, h);
        auto dq = problem_.query_slice(dq_view, s, h), dk = problem_.key_slice(dk_view, s, h),
             dv = problem_.key_slice(dv_view, s, h);
        const T factor = query_factor<T>(attention_.score(), width);
        const StridedMatrix<T> q = load(problem_.query_slice(problem_.q, s, h), factor, q_, is_column_major<T>(dk)),
                               dout =
                                   load(problem_.query_slice(inputs_.dout, s, h), T(1), dout_, is_column_major<T>(dv));
        load_lanes(v, lanes);
        multiply<T>(dout, n, d_v, in_lanes_, lanes, ds_);
        load_lanes(k, lanes);
        multiply<T>(q, n, width, in_lanes_, lanes, p_);
        form_weights(s, h, lanes, dout);

        add_product({p_, 1, lanes}, p_, lanes, n, dout, T(1), dv);
        add_product({ds_, 1, lanes}, ds_, lanes, n, q, T(1), dk);
        if (is_column_major<T>(dq)) {
            const Index of_queries = simd::padded<T>(n);
            rows_to_lanes(ds_, lanes, n, m, T(1), in_lanes_, of_queries);
            add_product({ds_, lanes, 1}, in_lanes_, of_queries, m, {k.data(), k.outerStride(), k.innerStride()}, factor,
                        dq);
        } else {
            add_product({ds_, lanes, 1}, nullptr, 0, m, load(k, T(1), in_lanes_, false), factor, dq);
        }
    }
    /// Rows as they are to be read: where columns do not follow each other, with zeros behind them, up to whole
    /// packets.
    template <class Rows>
    static StridedMatrix<T> load(const Rows& rows, T factor, T* to, bool by_columns) {
        if (by_columns && factor == T(1)) return {rows.data(), rows.outerStride(), rows.innerStride()};
        if (by_columns) {
            for (Index a = 0; a < rows.cols(); ++a) {
                for (Index i = 0; i < rows.rows(); ++i) to[a * rows.rows() + i] = factor * rows(i, a);
            }
            return {to, 1, rows.rows()};
        }
        const Index stride = simd::padded<T>(rows.cols());
        if (rows.innerStride() == 1) {
            for (Index i = 0; i < rows.rows(); ++i)
                copy_line(rows.data() + i * rows.outerStride(), rows.cols(), factor, to + i * stride);
        } else {
            if (stride > rows.cols()) std::fill_n(to, rows.rows() * stride, T(0));
            copy_rows(rows, factor, to, stride);
        }
        return {to, stride, 1};
    }
    /// Keys or values, or other rows, into lanes.
    template <class Rows>
    void load_lanes(const Rows& rows, Index lanes) {
        if (is_column_major<T>(rows)) {
            for (Index a = 0; a < rows.cols(); ++a)
                copy_line(rows.data() + a * rows.innerStride(), rows.rows(), T(1), in_lanes_ + a * lanes);
        } else if (rows.innerStride() == 1) {
            rows_to_lanes(rows.data(), rows.outerStride(), rows.rows(), rows.cols(), T(1), in_lanes_, lanes);
        } else {
            copy_rows(rows, T(1), sums_, rows.cols());
            rows_to_lanes(sums_, rows.cols(), rows.rows(), rows.cols(), T(1), in_lanes_, lanes);
        }
    }
    /// With zeros behind it, up to a whole packet: a load of what was written through a mask would wait for the cache.
    static void copy_line(const T* from, Index count, T factor, T* to) {
        const auto f = simd::broadcast(factor);
        for (Index a = 0; a < count; a += w)
            simd::store(to + a, simd::mul(f, simd::load(from + a, std::min(w, count - a), T(0))));
    }
    /// to += factor · left · right, over a depth: of columns that follow each other by their columns, for which left is
    /// needed in lanes.
    template <class Rows>
    void add_product(const StridedMatrix<T>& left, const T* left_in_lanes, Index lanes, Index depth,
                     const StridedMatrix<T>& right, T factor, Rows& to) {
        if (is_column_major<T>(to)) {
            multiply<T>({right.data, right.depth_stride, right.row_stride}, to.cols(), depth, left_in_lanes, lanes,
                        sums_);
            for (Index a = 0; a < to.cols(); ++a)
                add_column(sums_ + a * lanes, to.rows(), factor, to.data() + a * to.innerStride());
        } else {
            multiply<T>(left, to.rows(), depth, right.data, right.row_stride, sums_);
            add_rows(sums_, right.row_stride, factor, to);
        }
    }
    /// Less than a packet one by one: a load beside what was just written through a mask would wait for the cache.
    static void add_column(const T* from, Index count, T factor, T* to) {
        if (count >= w) return add_to_row(from, count, factor, to);
        const auto f = simd::broadcast(factor);
        for (Index i = 0; i < count; ++i)
            to[i] = simd::first<T>(simd::madd(f, simd::broadcast(from[i]), simd::broadcast(to[i])));
    }
    /// Scores in `p_` into weights, and their gradients in `ds_` into the scores'.
    void form_weights(Index s, Index h, Index lanes, const StridedMatrix<T>& dout) {
        const auto& fold = attention_.normalizer;
        const auto lse = problem_.query_slice(inputs_.lse, s, h);
        const auto out = problem_.query_slice(inputs_.out, s, h);
        const auto zero = simd::broadcast(T(0));
        for (Index i = 0; i < problem_.shape.queries; ++i) {
            const Lanes<T> of_row(lse(i, 0));
            auto delta = zero;
            for (Index a = 0; a < problem_.shape.d_v; ++a)
                delta = simd::madd(simd::broadcast(out(i, a)),
                                   simd::broadcast(dout.data[i * dout.row_stride + a * dout.depth_stride]), delta);
            for (Index j = i * lanes; j < (i + 1) * lanes; j += w) {
                const Lanes<T> p = fold.weight(Lanes<T>::of(simd::load(p_ + j)), of_row, h);
                const Lanes<T> ds = p * (Lanes<T>::of(simd::load(ds_ + j)) - Lanes<T>::of(delta));
                simd::store(p_ + j, p.packet);
                simd::store(ds_ + j, simd::select_equal(p.packet, zero, zero, ds.packet));
            }
        }
    }

    const A& attention_;
    const Problem<T>& problem_;
    const BackwardInputs<T>& inputs_;
    alignas(64) T q_[most_queries * most_width], dout_[most_queries * most_width];
    alignas(64) T p_[most_queries * most_keys], ds_[most_queries * most_keys];
    alignas(64) T in_lanes_[most_of_keys], sums_[most_of_keys];
};

/// Out of line, so that other calls do not carry its memory. Returns what `run` does.
template <class T, class A>
ATTEND_NOINLINE bool run_backward_directly(const A& attention, const Problem<T>& problem,
                                           const BackwardInputs<T>& inputs, Output<T>& dq, Output<T>& dk,
                                           Output<T>& dv) {
    return DirectBackward<T, A>(attention, problem, inputs).run(dq, dk, dv);
}

}  // namespace attend::detail::fused

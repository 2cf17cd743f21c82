#pragma once
/// \file
/// Gates on what the heads of a block give.

#include <attend/core/row_norm.hpp>
#include <attend/softmax/logistic.hpp>

namespace attend::inline ATTEND_ABI {

/// Whether a block gates its heads' outputs o before it projects them back, y = (o ∘ σ(x W_g + b_g)) W_o + b_o: each
/// feature by one of its own, `elementwise`, or each head by one, `headwise` (Qiu et al. 2025, as in Qwen3-Next); or
/// `none`.
enum class OutputGate { none, elementwise, headwise };

namespace detail {

/// Of gates before σ, rows × heads or × heads · d, makes σ of them, and `gated` of the heads' outputs, rows × heads ·
/// d, which may be their own memory.
template <class Gates, class Context, class Gated>
void apply_gates(Gates& gates, const Context& context, Index heads, Gated& gated) {
    using C = Compute<typename Context::Scalar>;
    const Index d = context.cols() / heads;
    const bool by_head = gates.cols() == heads;
    for (Index i = 0; i < context.rows(); ++i) {
        const auto gate = feature_row<C>(gates, i);
        by_packets<C>(gates.cols(),
                      [&](Index a, Index n) { gate.store(a, n, logistic(Lanes<C>::of(gate.load(a, n))).packet); });
        const auto from = feature_row<C>(context, i);
        const auto to = feature_row<C>(gated, i);
        for (Index h = 0; h < heads; ++h) {
            const auto of_head = simd::broadcast(by_head ? static_cast<C>(gates(i, h)) : C(1));
            by_packets<C>(d, [&](Index a, Index n) {
                const Index at = h * d + a;
                to.store(at, n, simd::mul(from.load(at, n), by_head ? of_head : gate.load(at, n)));
            });
        }
    }
}

/// Of `dcontext`, the gradient of what was gated, makes that of the heads' outputs, and `dgates`, that of the gates
/// before σ. Where it is 0 so are these, whatever stands there: a row that counts for nothing may hold NaN.
template <class Gates, class Context, class DContext, class DGates>
void gates_backward(const Gates& gates, const Context& context, Index heads, DContext& dcontext, DGates& dgates) {
    using C = Compute<typename Context::Scalar>;
    const Index d = context.cols() / heads;
    const bool by_head = gates.cols() == heads;
    const auto zero = simd::broadcast(C(0)), one = simd::broadcast(C(1));
    for (Index i = 0; i < context.rows(); ++i) {
        const auto gate = feature_row<C>(gates, i), o = feature_row<C>(context, i);
        const auto d_o = feature_row<C>(dcontext, i), d_gate = feature_row<C>(dgates, i);
        for (Index h = 0; h < heads; ++h) {
            auto sum = zero;
            const auto of_head = simd::broadcast(by_head ? static_cast<C>(gates(i, h)) : C(1));
            by_packets<C>(d, [&](Index a, Index n) {
                const Index at = h * d + a;
                const auto dy = d_o.load(at, n), none = simd::less_equal(simd::abs(dy), zero);
                const auto g = by_head ? of_head : gate.load(at, n);
                const auto slope = simd::mul(g, simd::sub(one, g));
                const auto dg = simd::select(none, zero, simd::mul(simd::mul(dy, o.load(at, n)), slope));
                d_o.store(at, n, simd::select(none, zero, simd::mul(dy, g)));
                if (by_head) {
                    sum = simd::add(sum, dg);
                } else {
                    d_gate.store(at, n, dg);
                }
            });
            if (by_head) dgates(i, h) = static_cast<typename DGates::Scalar>(simd::sum<C>(sum));
        }
    }
}

}  // namespace detail
}  // namespace attend

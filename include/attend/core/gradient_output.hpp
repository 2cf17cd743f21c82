#pragma once
/// \file
/// Where a backward call adds the gradients of operands: to numbers of the operands' scalar or, of 16 bits, of float.

#include <concepts>
#include <type_traits>
#include <utility>

#include <attend/core/errors.hpp>
#include <attend/core/output.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// The memory of such gradients of 16-bit operands: one of the two views has it.
template <class X>
struct GradientViewOf16Bits {
    StridedView<X> rounded;
    StridedView<Compute<X>> summed;
};
template <class X>
using GradientView = std::conditional_t<std::is_same_v<X, Compute<X>>, StridedView<X>, GradientViewOf16Bits<X>>;

/// Calls `f` with the view that has the memory.
/// @{
template <class X, class F>
void with_view(const StridedView<X>& view, F&& f) {
    f(view);
}
template <class X, class F>
void with_view(const GradientViewOf16Bits<X>& views, F&& f) {
    views.summed.data != nullptr ? f(views.summed) : f(views.rounded);
}
/// @}

/// An output that is 16-bit numbers, as the operands are, or float. Borrows what it is given, as `Output`.
template <class X>
class GradientOutputOf16Bits {
    template <class D>
    static constexpr bool sums = std::is_same_v<D, StridedView<Compute<X>>> || std::is_same_v<D, Output<Compute<X>>> ||
                                 requires { requires std::is_same_v<typename D::Scalar, Compute<X>>; };

public:
    GradientOutputOf16Bits() = default;
    template <class D>
        requires(!std::is_same_v<std::remove_cvref_t<D>, GradientOutputOf16Bits>)
    GradientOutputOf16Bits(D&& output) {  // NOLINT(google-explicit-constructor)
        if constexpr (sums<std::remove_cvref_t<D>>) {
            summed = Output<Compute<X>>(std::forward<D>(output));
        } else {
            rounded = Output<X>(std::forward<D>(output));
        }
    }

    explicit operator bool() const { return rounded || summed; }
    GradientViewOf16Bits<X> as(Index sequences, Index heads, Index rows, Index columns) {
        return {rounded.as(sequences, heads, rows, columns), summed.as(sequences, heads, rows, columns)};
    }

    Output<X> rounded;
    Output<Compute<X>> summed;
};

/// Calls `f` with outputs that are all of one scalar.
/// @{
template <class F, class... Xs>
void with_outputs(F&& f, Output<Xs>&... outputs) {
    f(outputs...);
}
template <class F, class... Xs>
void with_outputs(F&& f, GradientOutputOf16Bits<Xs>&... outputs) {
    const bool all = (static_cast<bool>(outputs.summed) && ...), any = (static_cast<bool>(outputs.summed) || ...);
    require(all == any, "dq, dk and dv must all be numbers of 16 bits, as the operands are, or all be float");
    all ? f(outputs.summed...) : f(outputs.rounded...);
}
/// @}

}  // namespace detail

/// What a backward call takes for the gradient of an operand of X: an `Output` of X or, of 16 bits, one of float, whose
/// sums are not rounded.
template <class X>
using GradientOutput = std::conditional_t<std::is_same_v<X, Compute<X>>, Output<X>, detail::GradientOutputOf16Bits<X>>;

}  // namespace attend

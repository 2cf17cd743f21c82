#pragma once
/// \file
/// What the operands of a call must be.

#include <limits>
#include <type_traits>

#include <attend/core/types.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Whether operands have types that a call can be made of; what they lack is said once, in words.
template <class First, class... Others>
consteval bool are_operands() {
    constexpr bool operands = AllOperands<First, Others...>;
    static_assert(operands,
                  "attend: an operand is a dense Eigen object, heads(x, n) or strided(…): of a std::vector or other "
                  "memory make one, Eigen::Map<const Eigen::MatrixXf>(v.data(), rows, columns)");
    if constexpr (operands) {
        using T = ScalarOf<First>;
        constexpr bool numbers = !std::numeric_limits<Compute<T>>::is_integer,
                       one = (std::is_same_v<T, ScalarOf<Others>> && ...);
        static_assert(numbers, "attend: operands must hold floating-point numbers: cast them first, q.cast<float>()");
        static_assert(one, "attend: all operands must have one scalar type: cast them first");
        return numbers && one;
    } else {
        return false;
    }
}

}  // namespace attend::detail

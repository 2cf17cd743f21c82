#pragma once
/// \file
/// Loops over registers.

#include <type_traits>
#include <utility>

#include <attend/core/config.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Calls f(0), …, f(n − 1) with constants. Registers in an array stay registers that way; a loop over them would be
/// unrolled too late at -O2 and leave them in memory.
template <int n, class F>
ATTEND_ALWAYS_INLINE inline void repeat(F&& f) {
    [&]<int... i>(std::integer_sequence<int, i...>)
        ATTEND_ALWAYS_INLINE { (f(std::integral_constant<int, i>{}), ...); }(std::make_integer_sequence<int, n>{});
}

}  // namespace attend::detail

#pragma once
/// \file
/// Loops over registers, and what stands in them.

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

/// Keeps a packet that several instructions use in the register that it was loaded into. GCC reads one that has up to
/// four uses from memory at each of them, which the loads of a product have no time for: tiles of four rows took a
/// quarter longer.
template <class P>
ATTEND_ALWAYS_INLINE inline void in_register([[maybe_unused]] P& x) {
#if defined(__GNUC__) && !defined(__clang__) && (defined(__x86_64__) || defined(__i386__))
    if constexpr (!std::is_arithmetic_v<P>) asm("" : "+v"(x));
#endif
}

}  // namespace attend::detail

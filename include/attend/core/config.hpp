#pragma once
/// \file
/// What the library asks of the compiler, and the switches it listens to.
///
/// - `ATTEND_ALLOW_FAST_MATH`: accept `-ffast-math`. The results for rows of −∞ and for NaN are then undefined.
/// - `ATTEND_NO_AMX`: leave Intel's AMX alone also in builds for processors that have it (core/amx.hpp).
/// - Exceptions off (`-fno-exceptions`): errors print their text to stderr and abort.

#if defined(__FAST_MATH__) && !defined(ATTEND_ALLOW_FAST_MATH)
#error \
    "attend: -ffast-math removes the infinities and NaNs that masks and softmax rely on; build without it, or define ATTEND_ALLOW_FAST_MATH to take the risk"
#endif

#if __cplusplus < 202002L
#error "attend needs C++20 (-std=c++20)"
#endif

#if defined(__cpp_exceptions)
#define ATTEND_HAS_EXCEPTIONS 1
#else
#define ATTEND_HAS_EXCEPTIONS 0
#endif

/// For the few functions whose registers would otherwise go through memory.
#if defined(__GNUC__)
#define ATTEND_ALWAYS_INLINE __attribute__((always_inline))
#define ATTEND_NOINLINE __attribute__((noinline))
#else
#define ATTEND_ALWAYS_INLINE
#define ATTEND_NOINLINE
#endif

#pragma once
/// \file
/// What the library asks of the compiler, and the switches it listens to.
///
/// - `ATTEND_ALLOW_FAST_MATH`: accept `-ffast-math`. The results for rows of −∞ and for NaN are then undefined.
/// - `ATTEND_NO_AMX`: leave Intel's AMX alone also in builds for processors that have it (core/amx.hpp).
/// - Exceptions off (`-fno-exceptions`): errors print their text to stderr and abort.

#include <Eigen/Core>

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

// What changes the code that the library's templates become. Objects of one program may be compiled for different
// processors or with different switches, and the linker keeps one of all functions that have one name: so the switches
// are part of every name, as `attend::ATTEND_ABI`, an inline namespace that nobody has to write. It covers what is
// attend's. Eigen has no such names: where objects of different -march exchange its matrices, build all of them with
// one EIGEN_MAX_ALIGN_BYTES, so that they agree on who frees what.
#if !defined(EIGEN_VECTORIZE)
#define ATTEND_ABI_PACKETS isa_scalar
#elif defined(EIGEN_VECTORIZE_AVX512FP16)
#define ATTEND_ABI_PACKETS isa_avx512_fp16
#elif defined(EIGEN_VECTORIZE_AVX512DQ)
#define ATTEND_ABI_PACKETS isa_avx512_dq
#elif defined(EIGEN_VECTORIZE_AVX512)
#define ATTEND_ABI_PACKETS isa_avx512
#elif defined(EIGEN_VECTORIZE_AVX2)
#define ATTEND_ABI_PACKETS isa_avx2
#elif defined(EIGEN_VECTORIZE_AVX)
#define ATTEND_ABI_PACKETS isa_avx
#elif defined(EIGEN_VECTORIZE_SSE4_1)
#define ATTEND_ABI_PACKETS isa_sse4
#elif defined(EIGEN_VECTORIZE_SSE3)
#define ATTEND_ABI_PACKETS isa_sse3
#elif defined(EIGEN_VECTORIZE_SSE)
#define ATTEND_ABI_PACKETS isa_sse2
#else
#define ATTEND_ABI_PACKETS isa_packets
#endif
// Scalar code of one source differs too.
#if defined(__AVX512F__)
#define ATTEND_ABI_TARGET _x4
#elif defined(__AVX2__)
#define ATTEND_ABI_TARGET _x3
#elif defined(__SSE4_2__)
#define ATTEND_ABI_TARGET _x2
#else
#define ATTEND_ABI_TARGET _x1
#endif
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define ATTEND_ABI_FMA _fma
#else
#define ATTEND_ABI_FMA
#endif
// Clang 14 spells the macros without the second underscore.
#if (defined(__AMX_BF16__) || defined(__AMXBF16__)) && !defined(ATTEND_NO_AMX)
#define ATTEND_ABI_AMX _amx
#else
#define ATTEND_ABI_AMX
#endif
#if ATTEND_HAS_EXCEPTIONS
#define ATTEND_ABI_ERRORS
#else
#define ATTEND_ABI_ERRORS _aborts
#endif
#if defined(__FAST_MATH__)
#define ATTEND_ABI_MATH _fast
#else
#define ATTEND_ABI_MATH
#endif
#define ATTEND_JOIN_NOW(a, b, c, d, e, f) a##b##c##d##e##f
#define ATTEND_JOIN(a, b, c, d, e, f) ATTEND_JOIN_NOW(a, b, c, d, e, f)
#define ATTEND_ABI                                                                                        \
    ATTEND_JOIN(ATTEND_ABI_PACKETS, ATTEND_ABI_TARGET, ATTEND_ABI_FMA, ATTEND_ABI_AMX, ATTEND_ABI_ERRORS, \
                ATTEND_ABI_MATH)

/// For the few functions whose registers would otherwise go through memory.
#if defined(__GNUC__)
#define ATTEND_ALWAYS_INLINE __attribute__((always_inline))
#define ATTEND_NOINLINE __attribute__((noinline))
#else
#define ATTEND_ALWAYS_INLINE
#define ATTEND_NOINLINE
#endif

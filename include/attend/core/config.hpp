#pragma once
/// \file
/// What the library asks of the compiler, and the switches it listens to.
///
/// - `ATTEND_ALLOW_FAST_MATH`: accept `-ffast-math`. The results for rows of −∞ and for NaN are then undefined.
/// - `ATTEND_NO_GNU_VECTORS`: do without GCC's and Clang's vectors, as other compilers must, to the same bits.
/// - `ATTEND_GNU_PACKETS`: packets of 128 bits by these vectors alone, as on processors that Eigen has no packets for.
/// - `ATTEND_NO_AMX`: leave Intel's AMX alone also in builds for processors that have it (core/amx.hpp).
/// - `ATTEND_NO_BF16`: likewise the instructions that multiply bfloat16, AVX512-BF16 and AArch64's BFMMLA.
/// - `ATTEND_AMX_IN_SOFTWARE`: AMX on any processor with AVX-512, for tests of what multiplies by it (core/amx.hpp).
/// - Exceptions off (`-fno-exceptions`): errors print their text to stderr and abort.

// GCC 12 takes the undefined lanes inside its own AVX-512 intrinsics for uninitialised variables of their callers, be
// they attend's or Eigen's products. What it is told here holds for what stands in those headers, where this header is
// the first to include them.
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include <Eigen/Core>

#if (defined(__FAST_MATH__) || defined(_M_FP_FAST)) && !defined(ATTEND_ALLOW_FAST_MATH)
#error \
    "attend: -ffast-math removes the infinities and NaNs that masks and softmax rely on; build without it, or define ATTEND_ALLOW_FAST_MATH to take the risk"
#endif

// Microsoft's compiler says it in another macro.
#if !(__cplusplus >= 202002L) && !(defined(_MSVC_LANG) && _MSVC_LANG >= 202002L)
#error "attend needs C++20 (-std=c++20, /std:c++20)"
#endif

#if defined(min) || defined(max)
#error "attend: min and max are macros here, as <windows.h> defines them: define NOMINMAX before it"
#endif

// The x87 computes in 80 bits whatever the type, which defeats every rounding that is meant.
#if defined(__FLT_EVAL_METHOD__) && !defined(__FAST_MATH__) && \
    (__FLT_EVAL_METHOD__ == 2 || (__FLT_EVAL_METHOD__ == -1 && defined(__i386__)))
#error "attend: float and double must be rounded to their own precision: compile with -msse2 -mfpmath=sse"
#endif

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define ATTEND_HAS_EXCEPTIONS 1
#else
#define ATTEND_HAS_EXCEPTIONS 0
#endif

// Other compilers than GCC and Clang have no vectors.
#if !defined(__GNUC__) && !defined(__clang__) && !defined(ATTEND_NO_GNU_VECTORS)
#define ATTEND_NO_GNU_VECTORS
#endif
#if defined(__wasm_simd128__) && !defined(EIGEN_VECTORIZE) && !defined(EIGEN_DONT_VECTORIZE) && \
    !defined(ATTEND_NO_GNU_VECTORS) && !defined(ATTEND_GNU_PACKETS)
#define ATTEND_GNU_PACKETS
#endif

// Its name as long as there was one such instruction.
#if defined(ATTEND_NO_AVX512_BF16) && !defined(ATTEND_NO_BF16)
#define ATTEND_NO_BF16
#endif

// What changes the code that the library's templates become. Objects of one program may be compiled for different
// processors or with different switches, and the linker keeps one of all functions that have one name: so the switches
// are part of every name, as `attend::ATTEND_ABI`, an inline namespace that nobody has to write. It covers what is
// attend's. Eigen has no such names: where objects of different -march exchange its matrices, build all of them with
// one EIGEN_MAX_ALIGN_BYTES, so that they agree on who frees what.
#if defined(ATTEND_GNU_PACKETS)
#define ATTEND_ABI_PACKETS isa_gnu
#elif !defined(EIGEN_VECTORIZE)
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
#if defined(ATTEND_NO_GNU_VECTORS)
#define ATTEND_ABI_LANES _plain
#else
#define ATTEND_ABI_LANES
#endif
// Scalar code of one source differs too, and so does what the compiler makes of packets.
#if defined(__AVX512FP16__)
#define ATTEND_ABI_TARGET _x6
#elif defined(__AVX512VBMI2__)
#define ATTEND_ABI_TARGET _x5
#elif defined(__AVX512VL__)
#define ATTEND_ABI_TARGET _x4
#elif defined(__AVX512F__)
#define ATTEND_ABI_TARGET _x4f
#elif defined(__AVX2__)
#define ATTEND_ABI_TARGET _x3
#elif defined(__AVX__)
#define ATTEND_ABI_TARGET _x2a
#elif defined(__SSE4_2__)
#define ATTEND_ABI_TARGET _x2
#elif defined(__SSSE3__)
#define ATTEND_ABI_TARGET _x1s
#elif defined(__ARM_FEATURE_SVE) || defined(__riscv_vector)
#define ATTEND_ABI_TARGET _v
#elif defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#define ATTEND_ABI_TARGET _a2
#elif defined(__ARM_FEATURE_ATOMICS)
#define ATTEND_ABI_TARGET _a1
#else
#define ATTEND_ABI_TARGET _x1
#endif
#if defined(__FMA4__)
#define ATTEND_ABI_FMA _fma4
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define ATTEND_ABI_FMA _fma
#else
#define ATTEND_ABI_FMA
#endif
#if defined(__BMI2__)
#define ATTEND_ABI_BITS _bmi
#else
#define ATTEND_ABI_BITS
#endif
// Clang 14 spells the macros without the second underscore.
#if defined(ATTEND_AMX_IN_SOFTWARE) && !defined(ATTEND_NO_AMX)
#define ATTEND_ABI_AMX _amx_in_software
#elif (defined(__AMX_BF16__) || defined(__AMXBF16__)) && !defined(ATTEND_NO_AMX)
#define ATTEND_ABI_AMX _amx
#else
#define ATTEND_ABI_AMX
#endif
#if (defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)) && !defined(ATTEND_NO_BF16)
#define ATTEND_ABI_BF16 _bf16
#else
#define ATTEND_ABI_BF16
#endif
#if ATTEND_HAS_EXCEPTIONS
#define ATTEND_ABI_ERRORS
#else
#define ATTEND_ABI_ERRORS _aborts
#endif
#if defined(__FAST_MATH__) || defined(_M_FP_FAST)
#define ATTEND_ABI_MATH _fast
#elif defined(__ASSOCIATIVE_MATH__)
#define ATTEND_ABI_MATH _associative
#else
#define ATTEND_ABI_MATH
#endif
// How Eigen's matrices lie in the members of attend's types.
#if EIGEN_MAX_ALIGN_BYTES == 0
#define ATTEND_ABI_ALIGNMENT _unaligned
#elif EIGEN_MAX_ALIGN_BYTES == 16
#define ATTEND_ABI_ALIGNMENT _a16
#elif EIGEN_MAX_ALIGN_BYTES == 32
#define ATTEND_ABI_ALIGNMENT _a32
#else
#define ATTEND_ABI_ALIGNMENT _a64
#endif
#define ATTEND_JOIN_NOW(a, b, c, d, e, f, g, h, i, j) a##b##c##d##e##f##g##h##i##j
#define ATTEND_JOIN(a, b, c, d, e, f, g, h, i, j) ATTEND_JOIN_NOW(a, b, c, d, e, f, g, h, i, j)
#define ATTEND_ABI                                                                                        \
    ATTEND_JOIN(ATTEND_ABI_PACKETS, ATTEND_ABI_LANES, ATTEND_ABI_TARGET, ATTEND_ABI_FMA, ATTEND_ABI_BITS, \
                ATTEND_ABI_AMX, ATTEND_ABI_BF16, ATTEND_ABI_ERRORS, ATTEND_ABI_MATH, ATTEND_ABI_ALIGNMENT)

/// For the few functions whose registers would otherwise go through memory.
#if defined(__GNUC__) || defined(__clang__)
#define ATTEND_ALWAYS_INLINE __attribute__((always_inline))
#define ATTEND_NOINLINE __attribute__((noinline))
#define ATTEND_FLAT __attribute__((noinline, flatten))
#elif defined(_MSC_VER)
#define ATTEND_ALWAYS_INLINE  // it stands on lambdas as well, where __forceinline may not
#define ATTEND_NOINLINE __declspec(noinline)
#define ATTEND_FLAT __declspec(noinline)
#else
#define ATTEND_ALWAYS_INLINE
#define ATTEND_NOINLINE
#define ATTEND_FLAT
#endif

/// Before a loop over the lanes of a packet: GCC would write each of its passes out, and then make no packets of them.
#if defined(__GNUC__) && !defined(__clang__)
#define ATTEND_ROLLED _Pragma("GCC unroll 1")
#else
#define ATTEND_ROLLED
#endif
/// Before a loop of a few passes that fills registers, each its own.
#if defined(__clang__)
#define ATTEND_UNROLLED _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define ATTEND_UNROLLED _Pragma("GCC unroll 16")
#else
#define ATTEND_UNROLLED
#endif

/// Of a member that may be empty, and then takes no room: Microsoft's compiler takes no notice of the standard's word.
#if !defined(_MSC_VER)
#define ATTEND_NO_UNIQUE_ADDRESS [[no_unique_address]]
#elif __has_cpp_attribute(msvc::no_unique_address)
#define ATTEND_NO_UNIQUE_ADDRESS [[msvc::no_unique_address]]
#else
#define ATTEND_NO_UNIQUE_ADDRESS
#endif

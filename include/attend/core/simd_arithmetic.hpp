#pragma once
/// \file
/// Functions of packets that take more than an instruction, or another one for each processor.

#include <cmath>
#include <type_traits>

#include <attend/core/simd_packets.hpp>

namespace attend::inline ATTEND_ABI::detail::simd {

/// f of each lane.
template <class T, class F>
Packet<T> each_lane(const Packet<T>& x, F f) {
    T lanes[width<T>];
    store(lanes, x);
    for (T& lane : lanes) lane = f(lane);
    return load(lanes);
}

/// NEON of 32 bits has no division and no root, and Eigen 3.4 puts estimates of 17 bits in their place.
#if defined(EIGEN_VECTORIZE_NEON) && !defined(__aarch64__)
inline constexpr bool estimated_division = true;
#else
inline constexpr bool estimated_division = false;
#endif

/// x, computed as it is written: not to be rearranged together with what is done to it, even under -ffast-math.
template <class P>
P as_written(P x) {
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__)
    EIGEN_OPTIMIZATION_BARRIER(x)
#endif
    return x;
}

/// x, kept in a register: of what is loaded once and used up to four times GCC makes a load for each use, and waits for
/// loads where it could multiply. (Eigen's barrier would not do: it lets x be memory.)
template <class P>
ATTEND_ALWAYS_INLINE inline P in_register(P x) {
#if defined(EIGEN_VECTORIZE_SSE) && defined(__GNUC__) && !defined(__clang__)
    if constexpr (!std::is_arithmetic_v<P>) asm("" : "+v"(x));
#endif
    return x;
}

/// An address, as if it were not known what it was made from: GCC computes the addresses of unrolled loops all at once
/// beforehand, and has no registers for them.
template <class T>
ATTEND_ALWAYS_INLINE inline T* address_in_register(T* x) {
#if defined(__GNUC__) || defined(__clang__)
    asm("" : "+r"(x));
#endif
    return x;
}

template <class P>
P div(const P& a, const P& b) {
    using T = PacketScalar<P>;
    if constexpr (estimated_division && width<T> > 1) {
        T dividends[width<T>], divisors[width<T>];
        store(dividends, a);
        store(divisors, b);
        for (Index i = 0; i < width<T>; ++i) dividends[i] /= divisors[i];
        return load(dividends);
    } else {
        return quotient(a, b);
    }
}
/// x / y of finite numbers, given 1 / y. The product is corrected by what it lacks, which a fused multiplication knows
/// exactly: as good as a division, in a quarter of the time.
template <class P>
P divided(const P& x, const P& y, [[maybe_unused]] const P& one_by_y) {
#if defined(EIGEN_VECTORIZE_FMA) || (defined(EIGEN_VECTORIZE_NEON) && defined(__aarch64__))
    const P product = mul(x, one_by_y), lack = madd(product, negate(y), x);
    return madd(lack, one_by_y, product);
#else
    return div(x, y);
#endif
}
/// 1 / x of a finite x > 0, at most 2 ulp off.
template <class T>
Packet<T> reciprocal(const Packet<T>& x) {
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {
        // An estimate and one step of Newton's: a division takes four times as long.
        const __m512 estimate = _mm512_maskz_rcp14_ps(0xffff, x);
        return _mm512_fmadd_ps(estimate, _mm512_fnmadd_ps(estimate, x, _mm512_set1_ps(1)), estimate);
    } else
#endif
    {
        return div(broadcast(T(1)), x);
    }
}
/// Rounded correctly. Eigen 3.4's estimates are not, and make NaN of ∞.
template <class P>
P sqrt(const P& x) {
    using T = PacketScalar<P>;
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (is_packet<P, float, 64>) return _mm512_sqrt_ps(x);
    if constexpr (is_packet<P, double, 64>) return _mm512_sqrt_pd(x);
#endif
#if defined(EIGEN_VECTORIZE_AVX)
    if constexpr (is_packet<P, float, 32>) return _mm256_sqrt_ps(x);
#endif
#if defined(EIGEN_VECTORIZE_SSE)
    if constexpr (is_packet<P, float, 16>) return _mm_sqrt_ps(x);
#endif
    if constexpr (estimated_division && width<T> > 1) {
        return each_lane<T>(x, [](T lane) { return std::sqrt(lane); });
    } else {
        return root(x);
    }
}

/// x, but exactly 0 in the lanes where `test` is below `bound`. NaN is below nothing.
template <class T>
Packet<T> zero_below(const Packet<T>& x, const Packet<T>& test, T bound) {
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {  // as above
        return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(test, _mm512_set1_ps(bound), _CMP_NLT_UQ), x);
    } else if constexpr (sizeof(Packet<T>) == 64) {
        return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(test, _mm512_set1_pd(bound), _CMP_NLT_UQ), x);
    } else
#endif
    {
        return select(less(test, broadcast(bound)), broadcast(T(0)), x);
    }
}

/// Whether a packet is a table, and is scaled by powers of two, by an instruction each: AVX-512.
template <class T>
inline constexpr bool has_tables =
#if defined(EIGEN_VECTORIZE_AVX512)
    is_packet<Packet<T>, float, 64> || is_packet<Packet<T>, double, 64>;
#else
    false;
#endif
/// For each lane the entry whose number its lowest bits are.
template <class P>
P look_up([[maybe_unused]] const P& entries, [[maybe_unused]] const P& numbers) {
    static_assert(has_tables<PacketScalar<P>>);
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (is_packet<P, float, 64>) {
        return _mm512_maskz_permutexvar_ps(0xffff, _mm512_castps_si512(numbers), entries);
    } else {
        return _mm512_maskz_permutexvar_pd(0xff, _mm512_castpd_si512(numbers), entries);
    }
#endif
}
/// x · 2^⌊n⌋, rounded to what numbers there are: down through the denormals to 0, and up to ∞.
template <class P>
P scale([[maybe_unused]] const P& x, [[maybe_unused]] const P& n) {
    static_assert(has_tables<PacketScalar<P>>);
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (is_packet<P, float, 64>) {
        return _mm512_maskz_scalef_ps(0xffff, x, n);
    } else {
        return _mm512_maskz_scalef_pd(0xff, x, n);
    }
#endif
}

template <class T>
Packet<T> tanh(const Packet<T>& x) {
    if constexpr (has_tanh<Packet<T>> && !estimated_division) {
        const auto t = rational_tanh(x);
#if defined(EIGEN_VECTORIZE_SSE)
        return t;
#else
        // Where products are fused, Eigen 3.4 ends 4 ulp short of 1, and the slope 1 − t² of what is infinite above 0.
        constexpr T rounds_to_1 = sizeof(T) == 4 ? T(9.02) : T(19.1);
        const auto most = broadcast(T(1)), least = broadcast(T(-1));
        return select(less(broadcast(rounds_to_1), x), most, select(less(x, broadcast(-rounds_to_1)), least, t));
#endif
    } else {
        return each_lane<T>(x, [](T lane) { return std::tanh(lane); });
    }
}

}  // namespace attend::detail::simd

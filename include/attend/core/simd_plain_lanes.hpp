#pragma once
/// \file
/// What packets do with the bits of their lanes and from lane to lane, for compilers without vectors of their own: by
/// x86's instructions, and elsewhere in memory, lane by lane. `ATTEND_NO_GNU_VECTORS` chooses it anywhere.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <attend/core/simd_bits.hpp>

#if defined(ATTEND_NO_GNU_VECTORS)

namespace attend::inline ATTEND_ABI::detail::simd {

/// Lane i becomes of(i).
template <class T, class F>
ATTEND_ALWAYS_INLINE inline Packet<T> lane_by_lane(F&& of) {
    T lanes[width<T>];
    for (int i = 0; i < width<T>; ++i) lanes[i] = of(i);
    return load(lanes);
}

/// Each lane's bits, as an unsigned integer, shifted left by `count`.
template <int count, class P>
P shift_left(const P& x) {
    using T = PacketScalar<P>;
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (is_packet<P, float, 64>)
        return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, _mm512_castps_si512(x), count));
    if constexpr (is_packet<P, double, 64>)
        return _mm512_castsi512_pd(_mm512_maskz_slli_epi64(0xff, _mm512_castpd_si512(x), count));
#endif
#if defined(EIGEN_VECTORIZE_AVX2)
    if constexpr (is_packet<P, float, 32>) return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), count));
    if constexpr (is_packet<P, double, 32>)
        return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(x), count));
#endif
#if defined(EIGEN_VECTORIZE_SSE)
    if constexpr (is_packet<P, float, 16>) return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(x), count));
    if constexpr (is_packet<P, double, 16>) return _mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(x), count));
#endif
    T from[width<T>];
    store(from, x);
    return lane_by_lane<T>([&](int i) { return bit_cast<T>(bit_cast<LaneBits<T>>(from[i]) << count); });
}
/// The sum of each lane's bits, as unsigned integers.
template <class P>
P add_bits(const P& a, const P& b) {
    using T = PacketScalar<P>;
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (is_packet<P, float, 64>)
        return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
    if constexpr (is_packet<P, double, 64>)
        return _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(b)));
#endif
    T left[width<T>], right[width<T>];
    store(left, a);
    store(right, b);
    return lane_by_lane<T>([&](int i) {
        return bit_cast<T>(static_cast<LaneBits<T>>(bit_cast<LaneBits<T>>(left[i]) + bit_cast<LaneBits<T>>(right[i])));
    });
}

/// Each lane rounded to the nearest number of 16 bits.
template <class T>
ATTEND_ALWAYS_INLINE inline void store_bfloat16(Eigen::bfloat16* to, const Packet<T>& x) {
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (is_packet<Packet<T>, float, 64>) {
        constexpr __mmask16 all = 0xffff;
        const auto every = [](int word) { return _mm512_set1_epi32(word); };
        const __m512i bits = _mm512_castps_si512(x), upper = _mm512_maskz_srli_epi32(all, bits, 16);
        const __m512i half = _mm512_add_epi32(_mm512_and_si512(upper, every(1)), every(0x7fff));
        const __m512i nearest = _mm512_maskz_srli_epi32(all, _mm512_add_epi32(bits, half), 16);
        const __m512i nan = _mm512_or_si512(_mm512_and_si512(upper, every(0x8000)), every(0x7fc0));
        const __m512i words = _mm512_mask_mov_epi32(nearest, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), nan);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_maskz_cvtepi32_epi16(all, words));
        return;
    }
#endif
    T from[width<T>];
    store(from, x);
    for (int i = 0; i < width<T>; ++i) to[i] = static_cast<Eigen::bfloat16>(from[i]);
}

template <class T>
ATTEND_ALWAYS_INLINE inline Scientific<T> exponent_and_mantissa(const Packet<T>& x) {
    using Int = LaneInteger<T>;
    T from[width<T>], n[width<T>];
    store(from, x);
    for (int i = 0; i < width<T>; ++i)
        n[i] = static_cast<T>((bit_cast<Int>(from[i]) - bits_of_root_half<T>) >> mantissa_bits<T>);
    return {load(n), lane_by_lane<T>([&](int i) {
                return bit_cast<T>(bit_cast<Int>(from[i]) - (static_cast<Int>(n[i]) << mantissa_bits<T>));
            })};
}

/// The mask, as comparisons give it, of the lanes whose bit is set.
template <class T>
Packet<T> mask_of_bits(std::uint64_t bits) {
    // A comparison makes it, whatever the processor's masks are.
    return less(broadcast(T(0)), lane_by_lane<T>([&](int i) { return static_cast<T>(bits >> i & 1); }));
}

/// The sums of neighbours in x and in y, which stay in the 128 bits where they stand, those of x first; or, where these
/// hold what stands side by side no more, the sums of neighbours among those pieces of 128 bits.
template <class T, bool within>
ATTEND_ALWAYS_INLINE inline Packet<T> sums_of_pairs(const Packet<T>& x, const Packet<T>& y) {
    using P [[maybe_unused]] = Packet<T>;
    [[maybe_unused]] constexpr int even = 0x88, odd = 0xdd;
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (is_packet<P, float, 64> && within)
        return add<P>(_mm512_shuffle_ps(x, y, even), _mm512_shuffle_ps(x, y, odd));
    if constexpr (is_packet<P, float, 64> && !within)
        return add<P>(_mm512_shuffle_f32x4(x, y, even), _mm512_shuffle_f32x4(x, y, odd));
    if constexpr (is_packet<P, double, 64> && within)
        return add<P>(_mm512_shuffle_pd(x, y, 0), _mm512_shuffle_pd(x, y, 0xff));
    if constexpr (is_packet<P, double, 64> && !within)
        return add<P>(_mm512_shuffle_f64x2(x, y, even), _mm512_shuffle_f64x2(x, y, odd));
#endif
#if defined(EIGEN_VECTORIZE_AVX)
    if constexpr (is_packet<P, float, 32> && within)
        return add<P>(_mm256_shuffle_ps(x, y, even), _mm256_shuffle_ps(x, y, odd));
    if constexpr (is_packet<P, float, 32> && !within)
        return add<P>(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
    if constexpr (is_packet<P, double, 32> && within)
        return add<P>(_mm256_shuffle_pd(x, y, 0), _mm256_shuffle_pd(x, y, 0xf));
    if constexpr (is_packet<P, double, 32> && !within)
        return add<P>(_mm256_permute2f128_pd(x, y, 0x20), _mm256_permute2f128_pd(x, y, 0x31));
#endif
#if defined(EIGEN_VECTORIZE_SSE)
    if constexpr (is_packet<P, float, 16>) return add<P>(_mm_shuffle_ps(x, y, even), _mm_shuffle_ps(x, y, odd));
    if constexpr (is_packet<P, double, 16>) return add<P>(_mm_shuffle_pd(x, y, 0), _mm_shuffle_pd(x, y, 3));
#endif
    T from[2 * width<T>];
    store(from, x);
    store(from + width<T>, y);
    return lane_by_lane<T>([&](int i) { return from[neighbour<T, within>(i, 0)] + from[neighbour<T, within>(i, 1)]; });
}

/// Lane i becomes lane i ^ apart.
template <class T, int apart>
ATTEND_ALWAYS_INLINE inline Packet<T> swapped(const Packet<T>& x) {
    // The quarters of 128 bits, or the lanes in these, by one or by two.
    [[maybe_unused]] constexpr int by_one = 0xb1, by_two = 0x4e;
    [[maybe_unused]] constexpr bool one = apart == 1 || apart * sizeof(T) == 16;
    [[maybe_unused]] constexpr bool within = apart * sizeof(T) < 16;
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (is_packet<Packet<T>, float, 64> && within) return _mm512_shuffle_ps(x, x, one ? by_one : by_two);
    if constexpr (is_packet<Packet<T>, float, 64> && !within) return _mm512_shuffle_f32x4(x, x, one ? by_one : by_two);
    if constexpr (is_packet<Packet<T>, double, 64> && within) return _mm512_shuffle_pd(x, x, 0x55);
    if constexpr (is_packet<Packet<T>, double, 64> && !within) return _mm512_shuffle_f64x2(x, x, one ? by_one : by_two);
#endif
#if defined(EIGEN_VECTORIZE_AVX)
    if constexpr (is_packet<Packet<T>, float, 32> && within) return _mm256_shuffle_ps(x, x, one ? by_one : by_two);
    if constexpr (is_packet<Packet<T>, float, 32> && !within) return _mm256_permute2f128_ps(x, x, 1);
    if constexpr (is_packet<Packet<T>, double, 32> && within) return _mm256_shuffle_pd(x, x, 5);
    if constexpr (is_packet<Packet<T>, double, 32> && !within) return _mm256_permute2f128_pd(x, x, 1);
#endif
#if defined(EIGEN_VECTORIZE_SSE)
    if constexpr (is_packet<Packet<T>, float, 16>) return _mm_shuffle_ps(x, x, one ? by_one : by_two);
    if constexpr (is_packet<Packet<T>, double, 16>) return _mm_shuffle_pd(x, x, 1);
#endif
    T from[width<T>];
    store(from, x);
    return lane_by_lane<T>([&](int i) { return from[i ^ apart]; });
}

/// The sum of all lanes, halves added until one lane is left, whatever Eigen's order is: as `sums_of_groups` adds them.
template <class T, int lanes = static_cast<int>(width<T>)>
ATTEND_ALWAYS_INLINE inline T sum_by_halves(const Packet<T>& x) {
    if constexpr (lanes == 1) {
        return first<T>(x);
    } else {
        return sum_by_halves<T, lanes / 2>(add(x, swapped<T, lanes / 2>(x)));
    }
}

/// An integer of 64 bits for each lane.
template <class T>
struct Words {
    std::uint64_t lane[width<T>] = {};

    std::uint64_t& operator[](Index i) { return lane[i]; }
    friend Words operator+(const Words& a, std::uint64_t b) {
        return a.each([&](std::uint64_t x, int) { return x + b; });
    }
    friend Words operator*(const Words& a, std::uint64_t b) {
        return a.each([&](std::uint64_t x, int) { return x * b; });
    }
    friend Words operator&(const Words& a, std::uint64_t b) {
        return a.each([&](std::uint64_t x, int) { return x & b; });
    }
    friend Words operator^(const Words& a, std::uint64_t b) {
        return a.each([&](std::uint64_t x, int) { return x ^ b; });
    }
    friend Words operator^(const Words& a, const Words& b) {
        return a.each([&](std::uint64_t x, int i) { return x ^ b.lane[i]; });
    }
    friend Words operator>>(const Words& a, int count) {
        return a.each([&](std::uint64_t x, int) { return x >> count; });
    }

private:
    template <class F>
    Words each(F&& f) const {
        Words result;
        for (int i = 0; i < width<T>; ++i) result.lane[i] = f(lane[i], i);
        return result;
    }
};

/// −1 where the word is at least so large, 0 elsewhere.
template <class T>
Packet<T> minus_one_from(const Words<T>& words, std::uint64_t least) {
    return lane_by_lane<T>([&](int i) { return words.lane[i] >= least ? T(-1) : T(0); });
}

}  // namespace attend::detail::simd

#endif

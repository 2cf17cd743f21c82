#pragma once
/// \file
/// Packets of numbers of 4 bits.

#include <cstring>

#include <attend/core/int4.hpp>
#include <attend/core/simd.hpp>

namespace attend::inline ATTEND_ABI::detail::simd {

/// A packet of T of the numbers that follow, from a multiple of its width on.
template <class T>
ATTEND_ALWAYS_INLINE inline Packet<T> load_as(const Int4Numbers& from) {
    constexpr Index w = width<T>, half = Int4::numbers / 2;
    static_assert(half % w == 0, "attend: a packet is of one half of a group");
    const Int4& group = from.groups[from.at / Int4::numbers];
    [[maybe_unused]] const Index first = from.at % half, in_group = from.at % Int4::numbers;
    [[maybe_unused]] const float factor = static_cast<float>(group.factor);
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {
        constexpr __mmask16 all = 0xffff;
        const __m512 numbers = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(group.pairs));
        int word;  // of whose two bytes the factor is the upper half of a float
        std::memcpy(&word, &group, sizeof word);
        const __m512 in_all_lanes = _mm512_castsi512_ps(_mm512_maskz_slli_epi32(all, _mm512_set1_epi32(word), 16));
        const __m128i shift = _mm_cvtsi32_si128(in_group < half ? 0 : 4);
        const __m512i places = _mm512_maskz_srl_epi32(all, _mm512_maskz_cvtepu8_epi32(all, bytes), shift);
        // Only the last four bits of a lane say which.
        return _mm512_maskz_permutexvar_ps(all, places, _mm512_mul_ps(numbers, in_all_lanes));
    }
#elif defined(EIGEN_VECTORIZE_AVX2)
    if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, float>) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(group.pairs + first));
        const __m128i shift = _mm_cvtsi32_si128(in_group < half ? 0 : 4);
        const __m256i places =
            _mm256_and_si256(_mm256_srl_epi32(_mm256_cvtepu8_epi32(bytes), shift), _mm256_set1_epi32(15));
        const __m256i numbers = _mm256_sub_epi32(places, _mm256_set1_epi32(8));
        return _mm256_mul_ps(_mm256_cvtepi32_ps(numbers), _mm256_set1_ps(factor));
    }
#endif
    const int shift = in_group < half ? 0 : 4;
    T lanes[w];
    for (Index i = 0; i < w; ++i) lanes[i] = static_cast<T>((group.pairs[first + i] >> shift & 15) - 8);
    return mul(load<T>(lanes), broadcast(static_cast<T>(factor)));
}
/// The first `count` lanes, 1 to the width, of such; the others become 0.
template <class T>
ATTEND_ALWAYS_INLINE inline Packet<T> load_as(const Int4Numbers& from, Index count) {
    if (count == width<T>) return load_as<T>(from);
    T lanes[width<T>] = {};
    for (Index i = 0; i < count; ++i) lanes[i] = static_cast<T>(from[i]);
    return load<T>(lanes);
}

}  // namespace attend::detail::simd

#pragma once
/// \file
/// Packets of numbers that are held as narrower ones.

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include <attend/core/float8.hpp>
#include <attend/core/simd.hpp>
#include <attend/core/stored_int4.hpp>

namespace attend::inline ATTEND_ABI::detail::simd {

/// What each of 256 codes stands for.
template <class S>
inline constexpr std::array<float, 256> codes_of_8_bits = [] {
    std::array<float, 256> numbers{};
    for (std::size_t code = 0; code < 256; ++code) {
        S number;
        number.bits = static_cast<std::uint8_t>(code);
        numbers[code] = number;
    }
    return numbers;
}();
/// Bytes 2 and 3, from the least on, of the floats that magnitudes of 7 bits stand for; those below are 0.
template <class S>
struct UpperBytes {
    alignas(64) std::array<std::uint8_t, 128> third{}, fourth{};

    constexpr UpperBytes() {
        for (std::size_t code = 0; code < 128; ++code) {
            const auto bits = bit_cast<std::uint32_t>(codes_of_8_bits<S>[code]);
            third[code] = static_cast<std::uint8_t>(bits >> 16 & 0xff);
            fourth[code] = static_cast<std::uint8_t>(bits >> 24);
        }
    }
};
/// Byte i / 4, for each byte of 16 floats.
constexpr std::array<std::uint8_t, 64> places_of_upper_bytes() {
    std::array<std::uint8_t, 64> places{};
    for (std::size_t i = 0; i < 64; ++i) places[i] = static_cast<std::uint8_t>(i / 4);
    return places;
}
template <class T, class S>
ATTEND_ALWAYS_INLINE inline T scalar_as(const S& x) {
    if constexpr (std::is_same_v<S, Float8E4M3> || std::is_same_v<S, Float8E5M2>) {
        return static_cast<T>(codes_of_8_bits<S>[x.bits]);
    } else {
        return static_cast<T>(x);
    }
}

/// A packet of T of numbers of type S that follow each other, from any alignment. In an instruction or two of numbers
/// of 16 and 8 bits to float, but of halves where a processor has none for them.
template <class T, class S>
ATTEND_ALWAYS_INLINE inline Packet<T> load_as(const S* from) {
    if constexpr (std::is_same_v<T, S>) {
        return load(from);
    } else {
#if defined(EIGEN_VECTORIZE_AVX512)
        if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {
            constexpr __mmask16 all = 0xffff;  // GCC 12 warns of what it leaves undefined without a mask
            if constexpr (std::is_same_v<S, Eigen::bfloat16>) {
                const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
                return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(all, _mm512_maskz_cvtepu16_epi32(all, bits), 16));
            } else if constexpr (std::is_same_v<S, Eigen::half>) {
                return _mm512_maskz_cvtph_ps(all, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
            } else if constexpr (std::is_same_v<S, std::int8_t>) {
                const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
                return _mm512_maskz_cvtepi32_ps(all, _mm512_maskz_cvtepi8_epi32(all, bytes));
            } else if constexpr (std::is_same_v<S, Float8E5M2>) {  // the upper byte of a half
                const __m256i twice =
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
                const __m256i upper = _mm256_setr_epi8(-1, 0, -1, 1, -1, 2, -1, 3, -1, 4, -1, 5, -1, 6, -1, 7, -1, 8,
                                                       -1, 9, -1, 10, -1, 11, -1, 12, -1, 13, -1, 14, -1, 15);
                return _mm512_maskz_cvtph_ps(all, _mm256_shuffle_epi8(twice, upper));
#if defined(__AVX512VBMI__)
            } else if constexpr (std::is_same_v<S, Float8E4M3>) {  // both upper bytes of a float, from a table each
                static constexpr UpperBytes<S> bytes;
                alignas(64) static constexpr auto place = places_of_upper_bytes();
                const __m512i codes = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
                const auto look_up = [](__mmask64 which, const __m512i& in, const auto& table) ATTEND_ALWAYS_INLINE {
                    return _mm512_mask2_permutex2var_epi8(_mm512_load_si512(table.data()), in, which,
                                                          _mm512_load_si512(table.data() + 64));
                };
                constexpr __mmask64 third = 0x4444444444444444, fourth = 0x8888888888888888;
                const __m512i in_place =
                    _mm512_maskz_permutexvar_epi8(third | fourth, _mm512_load_si512(place.data()), codes);
                const __m512i magnitudes = look_up(fourth, look_up(third, in_place, bytes.third), bytes.fourth);
                constexpr int first_or_both_others = 0xf8;
                return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
                    magnitudes, in_place, _mm512_castps_si512(_mm512_set1_ps(-0.0F)), first_or_both_others));
#else
            } else if constexpr (std::is_same_v<S, Float8E4M3>) {  // bits of a half, whose exponent is 8 less
                const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
                const __m256i bits = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 7);
                const __m512 x = _mm512_maskz_cvtph_ps(all, _mm256_and_si256(bits, _mm256_set1_epi16(-0x4080)));
                const __m512i magnitude = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
                const __mmask16 is_number = _mm512_cmpneq_epi32_mask(magnitude, _mm512_set1_epi32(0x3ff00000));
                return _mm512_mask_mul_ps(_mm512_set1_ps(std::numeric_limits<float>::quiet_NaN()), is_number, x,
                                          _mm512_set1_ps(256));
#endif
            }
        }
#elif defined(EIGEN_VECTORIZE_AVX2)
        if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, float>) {
            if constexpr (std::is_same_v<S, Eigen::bfloat16>) {
                const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
                return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
#if defined(__F16C__) || defined(_MSC_VER)  // which has no macro for it, and the instruction wherever it has AVX2
            } else if constexpr (std::is_same_v<S, Eigen::half>) {
                return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#endif
            } else if constexpr (std::is_same_v<S, std::int8_t>) {
                const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
                return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
#if defined(__F16C__) || defined(_MSC_VER)
            } else if constexpr (std::is_same_v<S, Float8E5M2>) {  // the upper byte of a half
                const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
                return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(bytes), 8));
            } else if constexpr (std::is_same_v<S, Float8E4M3>) {  // bits of a half, whose exponent is 8 less
                const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
                const __m128i bits = _mm_slli_epi16(_mm_cvtepi8_epi16(bytes), 7);
                const __m256 x = _mm256_cvtph_ps(_mm_and_si128(bits, _mm_set1_epi16(-0x4080)));
                const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x);
                const __m256 is_nan = _mm256_cmp_ps(magnitude, _mm256_set1_ps(1.875F), _CMP_EQ_OQ);
                return _mm256_or_ps(_mm256_mul_ps(x, _mm256_set1_ps(256)), is_nan);
#endif
            }
        }
#elif defined(EIGEN_VECTORIZE_SSE)
        if constexpr (sizeof(Packet<T>) == 16 && std::is_same_v<T, float>) {
            if constexpr (std::is_same_v<S, Eigen::bfloat16>) {
                const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
                return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), bits));
            } else if constexpr (std::is_same_v<S, std::int8_t>) {
                std::int32_t four;
                std::memcpy(&four, from, sizeof four);
                const __m128i bytes = _mm_cvtsi32_si128(four), twice = _mm_unpacklo_epi8(bytes, bytes);
                return _mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(twice, twice), 24));
            }
        }
#elif defined(EIGEN_VECTORIZE_NEON) && defined(__aarch64__)
        if constexpr (sizeof(Packet<T>) == 16 && std::is_same_v<T, float>) {
            if constexpr (std::is_same_v<S, Eigen::bfloat16>) {
                const uint16x4_t bits = vld1_u16(reinterpret_cast<const std::uint16_t*>(from));
                return vreinterpretq_f32_u32(vshll_n_u16(bits, 16));
            } else if constexpr (std::is_same_v<S, Eigen::half>) {
                std::uint64_t four;
                std::memcpy(&four, from, sizeof four);
                return vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(four)));
            } else if constexpr (std::is_same_v<S, std::int8_t>) {
                std::uint32_t four;
                std::memcpy(&four, from, sizeof four);
                return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(four)))));
            }
        }
#endif
        T lanes[width<T>];
        for (Index i = 0; i < width<T>; ++i) lanes[i] = scalar_as<T>(from[i]);
        return load<T>(lanes);
    }
}
/// The first `count` lanes, 1 to the width, of such; the others become 0. Nothing behind `from + count` is read.
template <class T, class S>
ATTEND_ALWAYS_INLINE inline Packet<T> load_as(const S* from, Index count) {
    if constexpr (std::is_same_v<T, S>) {
        return load(from, count, T(0));
    } else {
        if (count == width<T>) return load_as<T>(from);
        S lanes[width<T>] = {};
        copy_some<T>(from, count, lanes);
        return load_as<T>(lanes);
    }
}

/// Each lane of a packet as a number of type S, rounded to the nearest, to any alignment.
template <class T, class S>
ATTEND_ALWAYS_INLINE inline void store_as(S* to, const Packet<T>& x) {
    if constexpr (std::is_same_v<T, float> && std::is_same_v<S, Eigen::bfloat16>) return store_bfloat16<T>(to, x);
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float> && std::is_same_v<S, Eigen::half>) {
        constexpr __mmask16 all = 0xffff;
        constexpr int nearest = 0;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_maskz_cvtps_ph(all, x, nearest));
        return;
    }
#elif defined(EIGEN_VECTORIZE_AVX2)
    if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, float> && std::is_same_v<S, Eigen::half>) {
#if defined(__F16C__)
        constexpr int nearest = 0;
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(x, nearest));
        return;
#endif
    }
#elif defined(EIGEN_VECTORIZE_NEON) && defined(__aarch64__)
    if constexpr (sizeof(Packet<T>) == 16 && std::is_same_v<T, float> && std::is_same_v<S, Eigen::half>) {
        const auto halves = vcvt_f16_f32(x);
        std::memcpy(static_cast<void*>(to), &halves, sizeof halves);
        return;
    }
#endif
    T lanes[width<T>];
    store(lanes, x);
    for (Index i = 0; i < width<T>; ++i) to[i] = static_cast<S>(lanes[i]);
}
/// The first `count` lanes, 1 to the width.
template <class T, class S>
ATTEND_ALWAYS_INLINE inline void store_as(S* to, const Packet<T>& x, Index count) {
    if constexpr (std::is_same_v<T, S>) {
        store<T>(to, x, count);
    } else {
        if (count == width<T>) return store_as<T>(to, x);
        S lanes[width<T>];
        store_as<T>(lanes, x);
        copy_some<T>(lanes, count, to);
    }
}

/// `count` numbers of whatever type as such of type T.
template <class T, class Numbers>
void convert(const Numbers& from, Index count, T* to) {
    constexpr Index w = width<T>;
    Index i = 0;
    for (; i + w <= count; i += w) store(to + i, load_as<T>(from + i));
    if (i < count) store<T>(to + i, load_as<T>(from + i, count - i), count - i);
}

}  // namespace attend::detail::simd

#pragma once
/// \file
/// Sums of the lanes of packets, and what else is made of lanes that stand apart.

#include <algorithm>
#include <bit>
#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/core/simd_lanes.hpp>

namespace attend::inline ATTEND_ABI::detail::simd {

#if defined(EIGEN_VECTORIZE_AVX512)
/// `sums_of_rows` of 16 rows: of some of these shuffles GCC makes slower ones.
ATTEND_ALWAYS_INLINE inline __m512 sums_of_16_rows(const __m512* x) {
    constexpr int even = 0x88, odd = 0xdd;
    const auto within = [](const __m512& a, const __m512& b) ATTEND_ALWAYS_INLINE {
        return _mm512_add_ps(_mm512_shuffle_ps(a, b, even), _mm512_shuffle_ps(a, b, odd));
    };
    const auto among = [](const __m512& a, const __m512& b) ATTEND_ALWAYS_INLINE {
        return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, even), _mm512_shuffle_f32x4(a, b, odd));
    };
    __m512 quarter[4];
    repeat<4>([&](auto r) ATTEND_ALWAYS_INLINE {
        const __m512* const row = x + 4 * r;
        quarter[r] = within(within(row[0], row[1]), within(row[2], row[3]));
    });
    return among(among(quarter[0], quarter[1]), among(quarter[2], quarter[3]));
}
#endif
/// Lane r is the sum of the lanes of row r. Pairs of neighbours are added until one packet is left.
template <class T, int rows = static_cast<int>(width<T>)>
ATTEND_ALWAYS_INLINE inline Packet<T> sums_of_rows(const Packet<T>* x) {
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float> && rows == 16) return sums_of_16_rows(x);
#endif
    if constexpr (rows == 1) {
        return x[0];
    } else {
        constexpr int w = static_cast<int>(width<T>), pieces = std::max(1, w * static_cast<int>(sizeof(T)) / 16);
        Packet<T> half[rows / 2];
        repeat<rows / 2>(
            [&](auto r) ATTEND_ALWAYS_INLINE { half[r] = sums_of_pairs<T, (rows > pieces)>(x[2 * r], x[2 * r + 1]); });
        return sums_of_rows<T, rows / 2>(half);
    }
}
/// f of all lanes of a group, in each of them: of lanes that stand `from` apart first, and then half as far, or with
/// `neighbours_first` of those that stand side by side first, and then twice as far. So many lanes are a group, a power
/// of two.
template <class T, bool neighbours_first = false, class F>
ATTEND_ALWAYS_INLINE inline Packet<T> over_groups(Packet<T> x, Index group, F f) {
    constexpr int levels = std::bit_width(static_cast<unsigned>(width<T>)) - 1;
    repeat<levels>([&](auto level) ATTEND_ALWAYS_INLINE {
        constexpr int apart = 1 << (neighbours_first ? level : levels - 1 - level);
        if (apart < group) x = f(x, swapped<T, apart>(x));
    });
    return x;
}
/// The sum of the lanes of a group, in each of them, by halves.
template <class T>
ATTEND_ALWAYS_INLINE inline Packet<T> sums_of_groups(const Packet<T>& x, Index group) {
    return over_groups<T>(x, group, [](const auto& a, const auto& b) ATTEND_ALWAYS_INLINE { return simd::add(a, b); });
}
/// The same as `sums_of_rows` adds them up.
template <class T>
ATTEND_ALWAYS_INLINE inline Packet<T> sums_of_neighbours(const Packet<T>& x, Index group) {
    return over_groups<T, true>(x, group,
                                [](const auto& a, const auto& b) ATTEND_ALWAYS_INLINE { return simd::add(a, b); });
}
template <class T>
ATTEND_ALWAYS_INLINE inline Packet<T> largest_of_groups(const Packet<T>& x, Index group) {
    return over_groups<T>(x, group, [](const auto& a, const auto& b) ATTEND_ALWAYS_INLINE { return simd::max(a, b); });
}

}  // namespace attend::detail::simd

#pragma once
/// \file
/// Packets of which only the first lanes are in memory.

#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/core/simd_packets.hpp>

namespace attend::inline ATTEND_ABI::detail::simd {

/// `count` rounded up to whole packets.
template <class T>
constexpr Index padded(Index count) {
    return (count + width<T> - 1) / width<T> * width<T>;
}

#if defined(EIGEN_VECTORIZE_AVX)
/// All bits of the first `count` lanes of 256 bits.
template <class T>
__m256i first_lanes(Index count) {
    static constexpr std::int32_t bits[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256(
        reinterpret_cast<const __m256i*>(bits + 8 - count * static_cast<Index>(sizeof(T) / sizeof *bits)));
}
#endif

/// Fewer lanes than a packet has, one by one: a compiler that does not see how many they are at most makes calls of it
/// otherwise, and warns of those that would be too long.
template <class T, class S>
ATTEND_ALWAYS_INLINE inline void copy_some(const S* from, Index count, S* to) {
    repeat<static_cast<int>(width<T>) - 1>([&](auto i) ATTEND_ALWAYS_INLINE {
        if (i < count) to[i] = from[i];
    });
}

/// Loads the first `count` lanes, 1 to the width; the others become `fill`. Nothing behind `from + count` is read.
template <class T>
Packet<T> load(const T* from, Index count, T fill) {
    if (count == width<T>) return load(from);
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {
        return _mm512_mask_loadu_ps(broadcast(fill), static_cast<__mmask16>((1U << count) - 1), from);
    } else if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, double>) {
        return _mm512_mask_loadu_pd(broadcast(fill), static_cast<__mmask8>((1U << count) - 1), from);
    }
#endif
#if defined(EIGEN_VECTORIZE_AVX)
    if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, float>) {
        const __m256i lanes = first_lanes<T>(count);
        return _mm256_blendv_ps(broadcast(fill), _mm256_maskload_ps(from, lanes), _mm256_castsi256_ps(lanes));
    } else if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, double>) {
        const __m256i lanes = first_lanes<T>(count);
        return _mm256_blendv_pd(broadcast(fill), _mm256_maskload_pd(from, lanes), _mm256_castsi256_pd(lanes));
    }
#endif
    T lanes[width<T>];
    store(lanes, broadcast(fill));
    copy_some<T>(from, count, lanes);
    return load<T>(lanes);
}

/// Stores the first `count` lanes, 1 to the width.
template <class T>
void store(T* to, const Packet<T>& x, Index count) {
    if (count == width<T>) return store(to, x);
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {
        return _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1U << count) - 1), x);
    } else if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, double>) {
        return _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1U << count) - 1), x);
    }
#endif
#if defined(EIGEN_VECTORIZE_AVX)
    if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, float>) {
        return _mm256_maskstore_ps(to, first_lanes<T>(count), x);
    } else if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, double>) {
        return _mm256_maskstore_pd(to, first_lanes<T>(count), x);
    }
#endif
    T lanes[width<T>];
    store(lanes, x);
    copy_some<T>(lanes, count, to);
}

}  // namespace attend::detail::simd

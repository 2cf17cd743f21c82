#pragma once
/// \file
/// What packets do with the bits of their lanes and from lane to lane, by the vectors of GCC and Clang, of which these
/// make the best on any processor. For other compilers simd_plain_lanes.hpp does the same, to the same bits.

#include <cstdint>
#include <cstring>
#include <utility>

#include <attend/core/simd_bits.hpp>

#if !defined(ATTEND_NO_GNU_VECTORS)

namespace attend::inline ATTEND_ABI::detail::simd {

/// The same lanes for the compiler's own arithmetic.
template <class P, class T = PacketScalar<P>>
struct CompilersVector {
    using type [[gnu::vector_size(sizeof(P))]] = T;
};

template <class T>
inline constexpr auto every_lane = std::make_integer_sequence<int, static_cast<int>(width<T>)>{};

/// Each lane's bits, as an unsigned integer, shifted left by `count`.
template <int count, class P>
P shift_left(const P& x) {
    // Not Eigen's packets of integers: version 3.4 has none of 64 bits for SSE2 and AVX2.
    using Bits = typename CompilersVector<P, LaneBits<PacketScalar<P>>>::type;
    return bit_cast<P>(bit_cast<Bits>(x) << count);
}
/// The sum of each lane's bits, as unsigned integers.
template <class P>
P add_bits(const P& a, const P& b) {
    using Bits = typename CompilersVector<P, LaneBits<PacketScalar<P>>>::type;
    return bit_cast<P>(bit_cast<Bits>(a) + bit_cast<Bits>(b));
}

template <class T>
ATTEND_ALWAYS_INLINE inline Scientific<T> exponent_and_mantissa(const Packet<T>& x) {
    using Int = LaneInteger<T>;
    if constexpr (width<T> == 1) {
        const Int n = (bit_cast<Int>(x) - bits_of_root_half<T>) >> mantissa_bits<T>;
        return {static_cast<T>(n), bit_cast<T>(bit_cast<Int>(x) - (n << mantissa_bits<T>))};
    } else {
        using Vector = typename CompilersVector<Packet<T>>::type;
        using Integers = typename CompilersVector<Packet<T>, Int>::type;
        const Integers bits = bit_cast<Integers>(x), n = (bits - bits_of_root_half<T>) >> mantissa_bits<T>;
        return {bit_cast<Packet<T>>(__builtin_convertvector(n, Vector)),
                bit_cast<Packet<T>>(bits - (n << mantissa_bits<T>))};
    }
}

/// Each lane rounded to the nearest number of 16 bits, of two as near the even one, and of a NaN its sign: as Eigen
/// does it. The instruction of AVX512-BF16 for this would lose denormal numbers.
template <class T>
ATTEND_ALWAYS_INLINE inline void store_bfloat16(Eigen::bfloat16* to, const Packet<T>& x) {
    if constexpr (width<T> == 1) {
        *to = static_cast<Eigen::bfloat16>(x);
    } else {
        using Bits = typename CompilersVector<Packet<T>, std::uint32_t>::type;
        using Integers = typename CompilersVector<Packet<T>, std::int32_t>::type;
        using Narrow [[gnu::vector_size(sizeof(std::uint16_t) * width<T>)]] = std::uint16_t;
        const Bits bits = bit_cast<Bits>(x), nearest = bits + (0x7fff + (bits >> 16 & 1));
        const Bits nan = (bits & 0x80000000) | 0x7fc00000;
        const Bits rounded = bit_cast<Integers>(bits & 0x7fffffff) > 0x7f800000 ? nan : nearest;
        const Narrow upper = __builtin_convertvector(rounded >> 16, Narrow);
        std::memcpy(static_cast<void*>(to), &upper, sizeof upper);
    }
}

/// The mask, as comparisons give it, of the lanes whose bit is set.
template <class T>
Packet<T> mask_of_bits(std::uint64_t bits) {
    if constexpr (width<T> == 1) {
        return less_equal(broadcast(T(0)), broadcast((bits & 1) != 0 ? T(0) : T(-1)));
    } else {
        using Int = LaneInteger<T>;
        using Vector = typename CompilersVector<Packet<T>, Int>::type;
        return [bits = static_cast<Int>(bits)]<int... i>(std::integer_sequence<int, i...>) ATTEND_ALWAYS_INLINE {
            const Vector lane = {(Int{1} << i)...}, all = {((void)i, bits)...};
            return bit_cast<Packet<T>>((all & lane) == lane);
        }(every_lane<T>);
    }
}

/// The sums of neighbours in x and in y, which stay in the 128 bits where they stand, those of x first; or, where these
/// hold what stands side by side no more, the sums of neighbours among those pieces of 128 bits.
template <class T, bool within>
ATTEND_ALWAYS_INLINE inline Packet<T> sums_of_pairs(const Packet<T>& x, const Packet<T>& y) {
    using Vector = typename CompilersVector<Packet<T>>::type;
    const auto a = bit_cast<Vector>(x), b = bit_cast<Vector>(y);
    return [&]<int... i>(std::integer_sequence<int, i...>) ATTEND_ALWAYS_INLINE {
        return bit_cast<Packet<T>>(__builtin_shufflevector(a, b, neighbour<T, within>(i, 0)...) +
                                   __builtin_shufflevector(a, b, neighbour<T, within>(i, 1)...));
    }(every_lane<T>);
}

/// The sum of all lanes, halves added until one lane is left, whatever Eigen's order is: as `sums_of_groups` adds them.
template <class T, class Vector, int... i>
ATTEND_ALWAYS_INLINE inline T sum_by_halves(const Vector& x, std::integer_sequence<int, i...>) {
    constexpr int half = sizeof...(i);
    if constexpr (half == 1) {
        return x[0] + x[1];
    } else if constexpr (half == 2) {
        return (x[0] + x[2]) + (x[1] + x[3]);
    } else {
        const auto sums = __builtin_shufflevector(x, x, i...) + __builtin_shufflevector(x, x, (half + i)...);
        return sum_by_halves<T>(sums, std::make_integer_sequence<int, half / 2>{});
    }
}
template <class T>
ATTEND_ALWAYS_INLINE inline T sum_by_halves(const Packet<T>& x) {
    if constexpr (width<T> == 1) {
        return x;
    } else {
        return sum_by_halves<T>(bit_cast<typename CompilersVector<Packet<T>>::type>(x),
                                std::make_integer_sequence<int, static_cast<int>(width<T> / 2)>{});
    }
}

/// Lane i becomes lane i ^ apart.
template <class T, int apart>
ATTEND_ALWAYS_INLINE inline Packet<T> swapped(const Packet<T>& x) {
    const auto lanes = bit_cast<typename CompilersVector<Packet<T>>::type>(x);
    return [&]<int... i>(std::integer_sequence<int, i...>) ATTEND_ALWAYS_INLINE {
        return bit_cast<Packet<T>>(__builtin_shufflevector(lanes, lanes, (i ^ apart)...));
    }(every_lane<T>);
}

/// An integer of 64 bits for each lane.
template <class T>
using Words [[gnu::vector_size(sizeof(std::uint64_t) * width<T>)]] = std::uint64_t;

/// −1 where the word is at least so large, 0 elsewhere.
template <class T>
Packet<T> minus_one_from(const Words<T>& words, std::uint64_t least) {
    using Vector [[gnu::vector_size(sizeof(T) * width<T>)]] = T;
    return bit_cast<Packet<T>>(__builtin_convertvector(words >= least, Vector));
}

}  // namespace attend::detail::simd

#endif

#pragma once
/// \file
/// The bits of lanes: integers as wide as these, the parts of a floating-point number, truths as bits.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <attend/core/simd_packets.hpp>

namespace attend::inline ATTEND_ABI::detail::simd {

/// Integers as wide as the lanes.
template <class T>
using LaneInteger = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
template <class T>
using LaneBits = std::make_unsigned_t<LaneInteger<T>>;

/// Of positive normal lanes 2^n · m with √½ <= m < √2.
template <class T>
struct Scientific {
    Packet<T> n, m;
};
template <class T>
inline constexpr int mantissa_bits = sizeof(T) == 4 ? 23 : 52;
template <class T>
inline constexpr auto bits_of_root_half =
    bit_cast<LaneInteger<T>>(static_cast<T>(0.707106781186547524400844362104849039L));

/// Which lane of x, or behind these of y, stands first or `second` in a lane of `sums_of_pairs`.
template <class T, bool within>
constexpr int neighbour(int lane, int second) {
    constexpr int w = static_cast<int>(width<T>), piece = std::min(w, static_cast<int>(16 / sizeof(T)));
    const int at = within ? lane % piece : lane / piece, half = (within ? piece : w / piece) / 2;
    const int taken = 2 * (at % half) + second, of_y = at < half ? 0 : w;
    return of_y + (within ? lane / piece * piece + taken : taken * piece + lane % piece);
}

/// The bits of `count` truths that follow each other in memory, the first one's last.
inline std::uint64_t bits_of_truths(const bool* from, Index count) {
    std::uint64_t bits = 0;
    for (Index i = 0; i < count; i += 8) {
        const Index here = count - i < 8 ? count - i : 8;
        std::uint64_t bytes = 0;
        if constexpr (std::endian::native == std::endian::little) {
            std::memcpy(&bytes, from + i, static_cast<std::size_t>(here));
        } else {
            for (Index b = 0; b < here; ++b) bytes |= std::uint64_t{from[i + b]} << (8 * b);
        }
        bits |= bytes * 0x0102040810204080 >> 56 << i;  // byte b, 0 or 1, becomes bit b of the highest byte
    }
    return bits;
}

}  // namespace attend::detail::simd

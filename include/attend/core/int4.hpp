#pragma once
/// \file
/// Numbers of 4 bits, in groups that have a factor.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <attend/core/tiles.hpp>

namespace attend::inline ATTEND_ABI {

/// 32 numbers −8 … 7 times a factor of them all, in 18 bytes. That of the largest magnitude becomes −8: numbers are off
/// by at most 1/15 of it, or 1/6 where they are near its negative; normally distributed ones by 0.086 of themselves, as
/// root mean squares. (With −7 … 7 it is 0.097, with a least number for each group 0.078, but in 20 bytes; of groups of
/// 16 this is 0.076 there.) The factor has 5 digits: each number times it is a bfloat16 exactly.
struct Int4 {
    Eigen::bfloat16 factor;  ///< of either sign; NaN where one of the numbers is not finite
    std::uint8_t pairs[16];  ///< byte i is 8 more than number i, and 16 times 8 more than number i + 16

    static constexpr Index numbers = 32;  ///< of a group

    /// Number i.
    float operator()(Index i) const {
        const int number = (i < 16 ? pairs[i] & 15 : pairs[i - 16] >> 4) - 8;
        return static_cast<float>(number) * static_cast<float>(factor);
    }
    /// The nearest to `count` numbers x(i), up to 32; the others are 0.
    template <class X>
    void put(const X& x, Index count) {
        float most = 0, sum = 0;
        for (Index i = 0; i < count; ++i) {
            if (std::abs(x(i)) > std::abs(most)) most = x(i);
            sum += x(i) * 0;
        }
        const float by = sum == 0 ? of_5_digits(most / -8) : std::nanf("");
        factor = static_cast<Eigen::bfloat16>(by);
        for (std::uint8_t& pair : pairs) pair = 0x88;
        if (sum != 0 || by == 0) return;
        for (Index i = 0; i < count; ++i) {
            const float number = std::clamp(std::nearbyint(x(i) / by), -8.F, 7.F);
            const int shift = i < 16 ? 0 : 4, from_8 = static_cast<int>(number) ^ 8;
            std::uint8_t& pair = pairs[i % 16];
            pair = static_cast<std::uint8_t>((pair & (0xf0 >> shift)) | (from_8 & 15) << shift);
        }
    }

private:
    static float of_5_digits(float x) {
        constexpr std::uint32_t dropped = 19;  // of 23 behind the first
        auto bits = Eigen::numext::bit_cast<std::uint32_t>(x);
        bits += (1U << (dropped - 1)) - 1 + (bits >> dropped & 1);
        constexpr float most = 0x1.fp+124F;  // or −8 times it is infinite
        return std::clamp(Eigen::numext::bit_cast<float>(bits >> dropped << dropped), -most, most);
    }
};
/// A group is what memory counts.
template <>
inline constexpr Index numbers_in<Int4> = Int4::numbers;

namespace detail {

/// Number `at` of a row of groups, and those behind it.
struct Int4Numbers {
    const Int4* groups;
    Index at;

    Int4Numbers operator+(Index count) const { return {groups, at + count}; }
    float operator[](Index i) const { return groups[(at + i) / Int4::numbers]((at + i) % Int4::numbers); }
};
inline Int4Numbers numbers_of(const Int4* row) { return {row, 0}; }

}  // namespace detail
}  // namespace attend

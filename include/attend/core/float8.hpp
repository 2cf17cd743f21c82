#pragma once
/// \file
/// Floating-point numbers of 8 bits.

#include <cstdint>

#include <attend/core/simd.hpp>

namespace attend::inline ATTEND_ABI {

namespace detail {

/// A sign, then the exponent, then `digits` bits of the significand, of which the first stands before them: m · 2^e, or
/// with an exponent of 0 less than that. All rounding is to the nearest, of two as near to the even one.
template <int digits, int bias>
struct Float8Bits {
    static constexpr int shift = 23 - digits;                                 ///< to where a float has its digits
    static constexpr std::uint32_t offset = std::uint32_t(127 - bias) << 23;  ///< between the exponents
    static constexpr float least = detail::simd::bit_cast<float>(offset) / (1 << (digits - 1));  ///< above 0

    static constexpr float widened(std::uint32_t magnitude) {
        if (magnitude >> digits == 0) return static_cast<float>(magnitude) * least;
        return detail::simd::bit_cast<float>((magnitude << shift) + offset);
    }
    /// Of a finite float that is not below 0; more than the largest becomes more than its bits.
    static constexpr std::uint32_t narrowed(float x) {
        const auto bits = detail::simd::bit_cast<std::uint32_t>(x);
        if (bits < offset + (1U << 23)) {  // added to so much, it loses what is below `least`
            const float much = least * (1 << 23);
            return detail::simd::bit_cast<std::uint32_t>(x + much) - detail::simd::bit_cast<std::uint32_t>(much);
        }
        const std::uint32_t odd = bits >> shift & 1;
        return (bits - offset + (1U << (shift - 1)) - 1 + odd) >> shift;
    }
};

}  // namespace detail

/// A number of 8 bits, 4 of them exponent and 3 significand, as the Open Compute Project's OFP8 has it (revision 1.0,
/// "E4M3"): up to 448, from 2⁻⁶ on off by at most 1/16 of itself, below by 2⁻¹⁰. It has no infinity: what rounds to
/// more than 448 becomes NaN, 0x7f or 0xff.
struct Float8E4M3 {
    std::uint8_t bits = 0;  ///< as they are stored

    static constexpr float largest = 448;  ///< finite number

    /// 0.
    constexpr Float8E4M3() = default;
    /// The nearest to x, of two as near the even one.
    explicit constexpr Float8E4M3(float x) {
        const auto all = detail::simd::bit_cast<std::uint32_t>(x), magnitude = all & 0x7fffffff;
        // 464 is as near to 480, which would have the bits of NaN, and of the two even.
        const bool fits = magnitude <= detail::simd::bit_cast<std::uint32_t>(464.0F);
        const std::uint32_t code = fits ? Number::narrowed(detail::simd::bit_cast<float>(magnitude)) : 0x7f;
        bits = static_cast<std::uint8_t>(code | (all >> 24 & 0x80));
    }
    /// Exactly.
    constexpr operator float() const {
        const std::uint32_t magnitude = bits & 0x7f;
        const auto x =
            magnitude == 0x7f ? 0x7fc00000 : detail::simd::bit_cast<std::uint32_t>(Number::widened(magnitude));
        return detail::simd::bit_cast<float>(x | std::uint32_t(bits & 0x80) << 24);
    }

private:
    using Number = detail::Float8Bits<3, 7>;
};

/// A number of 8 bits, 5 of them exponent and 2 significand, as the Open Compute Project's OFP8 has it (revision 1.0,
/// "E5M2"): the upper byte of a half. Up to 57344, from 2⁻¹⁴ on off by at most 1/8 of itself, below by 2⁻¹⁷. What
/// rounds to more becomes infinite.
struct Float8E5M2 {
    std::uint8_t bits = 0;  ///< as they are stored

    static constexpr float largest = 57344;  ///< finite number

    /// 0.
    constexpr Float8E5M2() = default;
    /// The nearest to x, of two as near the even one.
    explicit constexpr Float8E5M2(float x) {
        const auto all = detail::simd::bit_cast<std::uint32_t>(x), magnitude = all & 0x7fffffff;
        std::uint32_t code = 0x7c;  // infinite
        if (magnitude > 0x7f800000) code = 0x7e;
        if (magnitude < detail::simd::bit_cast<std::uint32_t>(61440.0F))
            code = Number::narrowed(detail::simd::bit_cast<float>(magnitude));
        bits = static_cast<std::uint8_t>(code | (all >> 24 & 0x80));
    }
    /// Exactly.
    constexpr operator float() const {
        const std::uint32_t magnitude = bits & 0x7f;
        auto x = detail::simd::bit_cast<std::uint32_t>(Number::widened(magnitude));
        if (magnitude >= 0x7c) x = magnitude == 0x7c ? 0x7f800000 : 0x7fc00000;
        return detail::simd::bit_cast<float>(x | std::uint32_t(bits & 0x80) << 24);
    }

private:
    using Number = detail::Float8Bits<2, 15>;
};

}  // namespace attend

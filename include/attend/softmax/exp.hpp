#pragma once
/// \file
/// The exponential function, on packets.

#include <cmath>
#include <cstddef>
#include <iterator>
#include <type_traits>

#include <attend/core/simd.hpp>

namespace attend::detail {

/// What e^x needs to know of a floating-point format.
///
/// With n = round(x / ln 2), e^x = 2^n · e^r where r = x − n·ln 2, |r| <= ln 2 / 2, and e^r ≈ 1 + r + r²·q(r).
/// `polynomial` holds q, highest power first: minimax in the relative error of e^r, found with Sollya's `fpminimax`,
/// for coefficients of the format itself.
template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
    static constexpr int mantissa_bits = 23;
    static constexpr float exponent_bias = 127;
    // Below `lowest` the result rounds to 0, above `highest` it overflows to +∞.
    static constexpr float lowest = -104, highest = 89;
    // ln 2 in two parts. The upper has 15 bits, so that its product with any n that occurs is exact.
    static constexpr float ln2_upper = 0x1.62e4p-1F, ln2_lower = 0x1.7f7d1cp-20F;
    // Relative error 3.3e-9, a twentieth of an ulp.
    static constexpr float polynomial[] = {0x1.694ca6p-10F, 0x1.12398p-7F, 0x1.555a26p-5F, 0x1.555492p-3F,
                                           0x1.fffffap-2F};
};

template <>
struct ExpConstants<double> {
    static constexpr int mantissa_bits = 52;
    static constexpr double exponent_bias = 1023;
    static constexpr double lowest = -746, highest = 710;
    static constexpr double ln2_upper = 0x1.62e42fefa38p-1, ln2_lower = 0x1.ef35793c7673p-45;  // 42 bits above
    // Relative error 3.8e-18, a thirtieth of an ulp.
    static constexpr double polynomial[] = {0x1.ad930400c27ddp-26, 0x1.28adfefa80119p-22, 0x1.71df18e2549ep-19,
                                            0x1.a019995cdc75bp-16, 0x1.a01a012ff293ep-13, 0x1.6c16c18477aefp-10,
                                            0x1.1111111126b3p-7,   0x1.55555555506bap-5,  0x1.55555555554fep-3,
                                            0x1.000000000000ap-1};
};

/// e^x on each lane of a packet of T.
///
/// For float and double at most 2 ulp off over the whole range: results go down through the denormals to 0 (e^−∞ is
/// exactly 0) and up to +∞; NaN stays NaN. A lane's bits depend on nothing but its own value. Other types use their own
/// exp.
template <class T>
simd::Packet<T> exp_packet(const simd::Packet<T>& x) {
    if constexpr (!std::is_same_v<T, float> && !std::is_same_v<T, double>) {
        using std::exp;
        return exp(x);
    } else {
        using C = ExpConstants<T>;
        // Adding this rounds to an integer k and leaves k + bias in the lowest bits of the sum, ready to become an
        // exponent.
        constexpr T rounder = T(3) * T(std::uint64_t{1} << (C::mantissa_bits - 1)) + C::exponent_bias;
        constexpr T log2e = T(1.44269504088896340736L);
        const auto c = [](T constant) { return simd::broadcast(constant); };

        const auto clamped = simd::max(simd::min(x, c(C::highest)), c(C::lowest));  // in this order NaN survives
        const auto n_rounder = simd::as_written(simd::madd(clamped, c(log2e), c(rounder)));
        const auto n = simd::sub(n_rounder, c(rounder));
        const auto r_upper = simd::as_written(simd::madd(n, c(-C::ln2_upper), clamped));
        const auto r = simd::madd(n, c(-C::ln2_lower), r_upper);

        auto q = c(C::polynomial[0]);
        for (std::size_t i = 1; i < std::size(C::polynomial); ++i) q = simd::madd(q, r, c(C::polynomial[i]));
        const auto e_r = simd::add(c(T(1)), simd::madd(q, simd::mul(r, r), r));

        // 2^n itself may be no normal number, so it is split into two that are; only the last product rounds.
        const auto half_rounder = simd::as_written(simd::madd(clamped, c(T(0.5) * log2e), c(rounder)));
        const auto half = simd::as_written(simd::sub(half_rounder, c(rounder)));
        const auto upper = simd::shift_left<C::mantissa_bits>(half_rounder);
        const auto lower = simd::shift_left<C::mantissa_bits>(simd::sub(n_rounder, half));
        return simd::mul(simd::mul(e_r, upper), lower);
    }
}

/// e^{a − b} on each lane, and 1 for equal infinities, whose difference would be NaN.
template <class T>
simd::Packet<T> exp_difference(const simd::Packet<T>& a, const simd::Packet<T>& b) {
    return simd::select_equal(a, b, simd::broadcast(T(1)), exp_packet<T>(simd::sub(a, b)));
}

/// The same for scalars, with the bits that a lane has.
template <class T>
T exp_difference(T a, T b) {
    return simd::first<T>(exp_difference<T>(simd::broadcast(a), simd::broadcast(b)));
}

}  // namespace attend::detail

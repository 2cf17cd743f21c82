#pragma once
/// \file
/// The exponential function, on packets.

#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <type_traits>

#include <attend/core/lanes.hpp>
#include <attend/core/repeat.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// What e^x needs to know of a floating-point format.
///
/// With n = round(x / ln 2), e^x = 2^n · e^r where r = x − n·ln 2, |r| <= ln 2 / 2, and e^r ≈ 1 + r + r²·q(r).
/// `polynomial` holds q, highest power first: minimax in the relative error of e^r, found with Sollya's `fpminimax`,
/// for coefficients of the format itself.
template <class T>
struct ExpConstants {  // of other types, whose e^x is their own
    static constexpr T ln2 = T(0.693147180559945309417232121458176568L);
    static constexpr T least_normal = T(std::numeric_limits<T>::min_exponent) * ln2, least_factor = least_normal / 2;
};

template <>
struct ExpConstants<float> {
    static constexpr int mantissa_bits = 23;
    static constexpr float exponent_bias = 127;
    // Below `lowest` the result rounds to 0, above `highest` it overflows to +∞.
    static constexpr float lowest = -104, highest = 89;
    static constexpr float least_normal = -87.3F;  // above it e^x is a normal number
    static constexpr float least_factor = -66.F;   // above it e^x is a normal number times anything from 1e-9 on
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
    static constexpr double least_normal = -708.3, least_factor = -650;
    static constexpr double ln2_upper = 0x1.62e42fefa38p-1, ln2_lower = 0x1.ef35793c7673p-45;  // 42 bits above
    // Relative error 3.8e-18, a thirtieth of an ulp.
    static constexpr double polynomial[] = {0x1.ad930400c27ddp-26, 0x1.28adfefa80119p-22, 0x1.71df18e2549ep-19,
                                            0x1.a019995cdc75bp-16, 0x1.a01a012ff293ep-13, 0x1.6c16c18477aefp-10,
                                            0x1.1111111126b3p-7,   0x1.55555555506bap-5,  0x1.55555555554fep-3,
                                            0x1.000000000000ap-1};
};

/// The parts of e^x = 2^n · e^r of float or double lanes.
template <class T>
struct ExpParts {
    simd::Packet<T> e_r;        ///< e^r, for |r| <= ln 2 / 2
    simd::Packet<T> n_rounder;  ///< n + `rounder`

    /// Adding this rounds to an integer n and leaves n + bias in the lowest bits of the sum, where a shift makes it an
    /// exponent.
    static constexpr T rounder =
        T(3) * T(std::uint64_t{1} << (ExpConstants<T>::mantissa_bits - 1)) + ExpConstants<T>::exponent_bias;
    static constexpr T log2e = T(1.44269504088896340736L);

    ATTEND_ALWAYS_INLINE explicit ExpParts(const simd::Packet<T>& x) {
        using C = ExpConstants<T>;
        const auto c = [](T constant) ATTEND_ALWAYS_INLINE { return simd::broadcast(constant); };
        n_rounder = simd::as_written(simd::madd(x, c(log2e), c(rounder)));
        const auto n = simd::sub(n_rounder, c(rounder));
        const auto r_upper = simd::as_written(simd::madd(n, c(-C::ln2_upper), x));
        const auto r = simd::madd(n, c(-C::ln2_lower), r_upper);
        e_r = simd::add(c(T(1)), simd::madd(polynomial(r), simd::mul(r, r), r));
    }

    /// q(r)
    ATTEND_ALWAYS_INLINE static simd::Packet<T> polynomial(const simd::Packet<T>& r) {
        constexpr auto& q_of = ExpConstants<T>::polynomial;
        auto q = simd::broadcast(q_of[0]);
        repeat<static_cast<int>(std::size(q_of)) - 1>(
            [&](auto i) ATTEND_ALWAYS_INLINE { q = simd::madd(q, r, simd::broadcast(q_of[i + 1])); });
        return q;
    }
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
        using Parts = ExpParts<T>;
        const auto c = [](T constant) { return simd::broadcast(constant); };
        const auto clamped = simd::max(simd::min(x, c(C::highest)), c(C::lowest));  // in this order NaN survives
        const Parts parts(clamped);

        // 2^n itself may be no normal number, so it is split into two that are; only the last product rounds.
        const auto half_rounder = simd::as_written(simd::madd(clamped, c(T(0.5) * Parts::log2e), c(Parts::rounder)));
        const auto half = simd::as_written(simd::sub(half_rounder, c(Parts::rounder)));
        const auto upper = simd::shift_left<C::mantissa_bits>(half_rounder);
        const auto lower = simd::shift_left<C::mantissa_bits>(simd::sub(parts.n_rounder, half));
        return simd::mul(simd::mul(parts.e_r, upper), lower);
    }
}

/// e^x for x <= 0, for the hot loop of a kernel: exactly 0 where x is below `least`, by default where e^x is no normal
/// number, so that no product with it is denormal: those cost a hundred times as much. NaN stays NaN.
///
/// Relative error at most (1 + |x|) ε, which is what the rounding of x itself brings; ln 2 in one part is enough for
/// it. If `exact`, ln 2 has two parts, and the error is at most 2 ulp.
template <class T, bool exact = false>
ATTEND_ALWAYS_INLINE inline simd::Packet<T> exp_of_nonpositive(const simd::Packet<T>& x,
                                                               T least = ExpConstants<T>::least_normal) {
    if constexpr (!std::is_same_v<T, float> && !std::is_same_v<T, double>) {
        return x < least ? T(0) : exp_packet<T>(x);
    } else {
        using C = ExpConstants<T>;
        using Parts = ExpParts<T>;
        const auto c = [](T constant) ATTEND_ALWAYS_INLINE { return simd::broadcast(constant); };
        const auto n_rounder = simd::as_written(simd::madd(x, c(Parts::log2e), c(Parts::rounder)));
        const auto n = simd::sub(n_rounder, c(Parts::rounder));
        const auto r = exact ? simd::madd(n, c(-C::ln2_lower), simd::as_written(simd::madd(n, c(-C::ln2_upper), x)))
                             : simd::madd(n, c(-(C::ln2_upper + C::ln2_lower)), x);
        const auto power = simd::shift_left<C::mantissa_bits>(n_rounder);
        const auto e_r_less_1 = simd::madd(Parts::polynomial(r), simd::mul(r, r), r);
        return simd::zero_below<T>(simd::madd(e_r_less_1, power, power), x, least);
    }
}

/// e^x for x <= 0, at most 2 ulp off, also where it is no normal number, which is rare.
template <class T>
ATTEND_ALWAYS_INLINE inline simd::Packet<T> exp_below(const simd::Packet<T>& x) {
    if constexpr (!std::is_same_v<T, float> && !std::is_same_v<T, double>) {
        return exp_packet<T>(x);
    } else {
        using C = ExpConstants<T>;
        const auto denormal =
            simd::bit_and(simd::less(x, simd::broadcast(C::least_normal)), simd::less(simd::broadcast(C::lowest), x));
        if (simd::any<T>(denormal)) [[unlikely]]
            return exp_packet<T>(x);
        return exp_of_nonpositive<T, true>(x);
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

namespace attend::inline ATTEND_ABI {

/// e^x by lane, at most 2 ulp off.
template <class T>
Lanes<T> exp(const Lanes<T>& x) {
    return Lanes<T>::of(detail::exp_packet<T>(x.packet));
}

}  // namespace attend

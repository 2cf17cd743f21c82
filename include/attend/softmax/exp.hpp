#pragma once
/// \file
/// The exponential function, on packets.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <attend/core/lanes.hpp>
#include <attend/core/repeat.hpp>
#include <attend/softmax/exp_constants.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// The parts of e^x = 2^n · e^r of float or double lanes, with ln 2 in one part unless `exact`.
template <class T, bool exact>
struct ExpParts {
    using C = ExpConstants<T>;
    static constexpr bool by_table = simd::has_tables<T>;

    simd::Packet<T> n_rounder;   ///< n + `rounder`
    simd::Packet<T> n;           ///< a multiple of 1, or `by_table` of 1 / width
    simd::Packet<T> e_r_less_1;  ///< e^r − 1, for |r| <= ln 2 / 2, or a width-th of it

    /// Adding this rounds to n. It leaves n + bias in the lowest bits of the sum, where a shift makes it an exponent,
    /// or the number of a root.
    static constexpr T rounder = [] {
        const T ones = T(3) * T(std::uint64_t{1} << (C::mantissa_bits - 1));
        return by_table ? ones / T(simd::width<T>) : ones + C::exponent_bias;
    }();
    static constexpr T log2e = T(1.44269504088896340736L);

    ATTEND_ALWAYS_INLINE explicit ExpParts(const simd::Packet<T>& x) {
        const auto c = [](T constant) ATTEND_ALWAYS_INLINE { return simd::broadcast(constant); };
        constexpr T upper = by_table ? C::fused_ln2_upper : C::ln2_upper,
                    lower = by_table ? C::fused_ln2_lower : C::ln2_lower;
        n_rounder = simd::as_written(simd::madd(x, c(log2e), c(rounder)));
        n = simd::sub(n_rounder, c(rounder));
        const auto r = exact ? simd::madd(n, c(-lower), simd::as_written(simd::madd(n, c(-upper), x)))
                             : simd::madd(n, c(-(upper + lower)), x);
        if constexpr (by_table) {
            e_r_less_1 = simd::madd(polynomial(C::short_polynomial, r), simd::mul(r, r), r);
        } else {
            e_r_less_1 = simd::madd(polynomial(C::polynomial, r), simd::mul(r, r), r);
        }
    }

    /// q(r)
    template <std::size_t count>
    ATTEND_ALWAYS_INLINE static simd::Packet<T> polynomial(const T (&q_of)[count], const simd::Packet<T>& r) {
        auto q = simd::broadcast(q_of[0]);
        repeat<static_cast<int>(count) - 1>(
            [&](auto i) ATTEND_ALWAYS_INLINE { q = simd::madd(q, r, simd::broadcast(q_of[i + 1])); });
        return q;
    }

    /// e^x, where it is a normal number; `by_table` wherever r is a number.
    ATTEND_ALWAYS_INLINE simd::Packet<T> product() const {
        if constexpr (by_table) {
            const auto root = simd::look_up(simd::load(C::roots), n_rounder);
            return simd::scale(simd::madd(e_r_less_1, root, root), n);
        } else {
            const auto power = simd::shift_left<C::mantissa_bits>(n_rounder);
            return simd::madd(e_r_less_1, power, power);
        }
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
        using Parts = ExpParts<T, true>;
        const auto c = [](T constant) { return simd::broadcast(constant); };
        const auto clamped = simd::max(simd::min(x, c(C::highest)), c(C::lowest));  // in this order NaN survives
        const Parts parts(clamped);
        if constexpr (Parts::by_table) {
            return parts.product();
        } else {
            // 2^n itself may be no normal number, so it is split into two that are; only the last product rounds.
            const auto half_rounder =
                simd::as_written(simd::madd(clamped, c(T(0.5) * Parts::log2e), c(Parts::rounder)));
            const auto half = simd::as_written(simd::sub(half_rounder, c(Parts::rounder)));
            const auto upper = simd::shift_left<C::mantissa_bits>(half_rounder);
            const auto lower = simd::shift_left<C::mantissa_bits>(simd::sub(parts.n_rounder, half));
            return simd::mul(simd::mul(simd::add(c(T(1)), parts.e_r_less_1), upper), lower);
        }
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
        return simd::zero_below<T>(ExpParts<T, exact>(x).product(), x, least);
    }
}

/// e^x where it is known to be a normal number, at most 2 ulp off: without asking.
template <class T>
ATTEND_ALWAYS_INLINE inline simd::Packet<T> exp_to_normal(const simd::Packet<T>& x) {
    if constexpr (!std::is_same_v<T, float> && !std::is_same_v<T, double>) {
        return exp_packet<T>(x);
    } else {
        return ExpParts<T, true>(x).product();
    }
}

/// Whether `exp_below` takes as long where e^x is no normal number.
template <class T>
inline constexpr bool exp_is_even = simd::has_tables<T>;

/// e^x for x <= 0, at most 2 ulp off, also where it is no normal number, which is rare.
template <class T>
ATTEND_ALWAYS_INLINE inline simd::Packet<T> exp_below(const simd::Packet<T>& x) {
    if constexpr (!std::is_same_v<T, float> && !std::is_same_v<T, double>) {
        return exp_packet<T>(x);
    } else if constexpr (exp_is_even<T>) {
        return ExpParts<T, true>(simd::max(x, simd::broadcast(ExpConstants<T>::lowest))).product();
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

#pragma once
/// \file
/// The exponential function, on packets.

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <type_traits>

#include <attend/core/lanes.hpp>
#include <attend/core/repeat.hpp>
#include <attend/softmax/exp_constants.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// The roots of 2, from the bits of each its number, shifted, taken away.
template <class T, int shift>
alignas(64) inline constexpr auto roots_less_numbers = [] {
    std::array<T, std::size(ExpConstants<T>::roots)> roots{};
    for (std::size_t i = 0; i < roots.size(); ++i) {
        using Bits = simd::LaneBits<T>;
        roots[i] = simd::bit_cast<T>(simd::bit_cast<Bits>(ExpConstants<T>::roots[i]) - (static_cast<Bits>(i) << shift));
    }
    return roots;
}();

/// The parts of e^x = 2^n · e^r of float or double lanes, with ln 2 in one part unless `exact`.
///
/// Of several packets a step is made of each before the next: one takes so many that wait for each other that a
/// processor does not see far enough to begin with the next packet by itself.
template <class T, bool exact, int packets = 1>
struct ExpParts {
    using C = ExpConstants<T>;
    using Packets = simd::Packet<T>[packets];
    static constexpr bool by_table = simd::has_tables<T>;

    Packets n_rounder;   ///< n + `rounder`
    Packets n;           ///< a multiple of 1, or `by_table` of 1 / width
    Packets e_r_less_1;  ///< e^r − 1, for |r| <= ln 2 / 2, or a width-th of it

    /// Adding this rounds to n. It leaves n + bias in the lowest bits of the sum, where a shift makes it an exponent,
    /// or the number of a root.
    static constexpr T rounder = [] {
        const T ones = T(3) * T(std::uint64_t{1} << (C::mantissa_bits - 1));
        return by_table ? ones / T(simd::width<T>) : ones + C::exponent_bias;
    }();
    static constexpr T log2e = T(1.44269504088896340736L);

    ATTEND_ALWAYS_INLINE explicit ExpParts(const Packets& x) {
        const auto c = [](T constant) ATTEND_ALWAYS_INLINE { return simd::broadcast(constant); };
        constexpr T upper = by_table ? C::fused_ln2_upper : C::ln2_upper,
                    lower = by_table ? C::fused_ln2_lower : C::ln2_lower;
        each([&](auto i)
                 ATTEND_ALWAYS_INLINE { n_rounder[i] = simd::as_written(simd::madd(x[i], c(log2e), c(rounder))); });
        each([&](auto i) ATTEND_ALWAYS_INLINE { n[i] = simd::sub(n_rounder[i], c(rounder)); });
        Packets r;
        if constexpr (exact) {
            each([&](auto i) ATTEND_ALWAYS_INLINE { r[i] = simd::as_written(simd::madd(n[i], c(-upper), x[i])); });
            each([&](auto i) ATTEND_ALWAYS_INLINE { r[i] = simd::madd(n[i], c(-lower), r[i]); });
        } else {
            each([&](auto i) ATTEND_ALWAYS_INLINE { r[i] = simd::madd(n[i], c(-(upper + lower)), x[i]); });
        }
        if constexpr (by_table) {
            add_square(C::short_polynomial, r);
        } else {
            add_square(C::polynomial, r);
        }
    }

    /// e^x, where it is a normal number.
    ATTEND_ALWAYS_INLINE void normal(Packets& e) const {
        if constexpr (by_table) {
            // A root's number would be added to its mantissa by the shift that makes an exponent of what is above it.
            constexpr int shift = C::mantissa_bits - std::countr_zero(static_cast<unsigned>(simd::width<T>));
            const auto roots = simd::load(roots_less_numbers<T, shift>.data());
            each([&](auto i) ATTEND_ALWAYS_INLINE {
                e[i] = simd::add_bits(simd::look_up(roots, n_rounder[i]), simd::shift_left<shift>(n_rounder[i]));
            });
        } else {
            each([&](auto i) ATTEND_ALWAYS_INLINE { e[i] = simd::shift_left<C::mantissa_bits>(n_rounder[i]); });
        }
        multiply(e);
    }
    /// e^x wherever r is a number, `by_table`: to the same bits, by an instruction more expensive.
    ATTEND_ALWAYS_INLINE void any(Packets& e) const {
        const auto roots = simd::load(C::roots);
        each([&](auto i) ATTEND_ALWAYS_INLINE { e[i] = simd::look_up(roots, n_rounder[i]); });
        multiply(e);
        each([&](auto i) ATTEND_ALWAYS_INLINE { e[i] = simd::scale(e[i], n[i]); });
    }

private:
    template <class F>
    ATTEND_ALWAYS_INLINE static void each(F&& f) {
        repeat<packets>(f);
    }
    /// e^r − 1 = r + r² q(r)
    template <std::size_t count>
    ATTEND_ALWAYS_INLINE void add_square(const T (&q_of)[count], const Packets& r) {
        Packets q;
        each([&](auto i) ATTEND_ALWAYS_INLINE { q[i] = simd::broadcast(q_of[0]); });
        repeat<static_cast<int>(count) - 1>([&](auto term) ATTEND_ALWAYS_INLINE {
            each([&](auto i) ATTEND_ALWAYS_INLINE { q[i] = simd::madd(q[i], r[i], simd::broadcast(q_of[term + 1])); });
        });
        each([&](auto i) ATTEND_ALWAYS_INLINE { e_r_less_1[i] = simd::madd(q[i], simd::mul(r[i], r[i]), r[i]); });
    }
    /// By e^r.
    ATTEND_ALWAYS_INLINE void multiply(Packets& powers) const {
        each([&](auto i) ATTEND_ALWAYS_INLINE { powers[i] = simd::madd(e_r_less_1[i], powers[i], powers[i]); });
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
        const typename Parts::Packets clamped = {
            simd::max(simd::min(x, c(C::highest)), c(C::lowest))};  // in this order NaN survives
        const Parts parts(clamped);
        if constexpr (Parts::by_table) {
            typename Parts::Packets e;
            parts.any(e);
            return e[0];
        } else {
            // 2^n itself may be no normal number, so it is split into two that are; only the last product rounds.
            const auto half_rounder =
                simd::as_written(simd::madd(clamped[0], c(T(0.5) * Parts::log2e), c(Parts::rounder)));
            const auto half = simd::as_written(simd::sub(half_rounder, c(Parts::rounder)));
            const auto upper = simd::shift_left<C::mantissa_bits>(half_rounder);
            const auto lower = simd::shift_left<C::mantissa_bits>(simd::sub(parts.n_rounder[0], half));
            return simd::mul(simd::mul(simd::add(c(T(1)), parts.e_r_less_1[0]), upper), lower);
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
        simd::Packet<T> e[1] = {x};
        ExpParts<T, exact>(e).normal(e);
        return simd::zero_below<T>(e[0], x, least);
    }
}

/// The same of some packets, exact, in their place.
template <class T, int packets>
ATTEND_ALWAYS_INLINE inline void exp_of_nonpositive(simd::Packet<T> (&x)[packets]) {
    repeat<packets>([&](auto i) ATTEND_ALWAYS_INLINE { x[i] = exp_of_nonpositive<T, true>(x[i]); });
}

/// x -> e^x where it is known to be a normal number, at most 2 ulp off: without asking.
template <class T, int packets>
ATTEND_ALWAYS_INLINE inline void exp_to_normal(simd::Packet<T> (&x)[packets]) {
    if constexpr (!std::is_same_v<T, float> && !std::is_same_v<T, double>) {
        repeat<packets>([&](auto i) ATTEND_ALWAYS_INLINE { x[i] = exp_packet<T>(x[i]); });
    } else {
        ExpParts<T, true, packets>(x).normal(x);
    }
}

/// Whether e^x of some lane is above 0 and no normal number.
template <class T, int packets>
ATTEND_ALWAYS_INLINE inline bool any_denormal(const simd::Packet<T> (&x)[packets]) {
    using C = ExpConstants<T>;
    const auto lowest = simd::broadcast(C::lowest), least = simd::broadcast(C::least_normal);
    auto denormal = simd::broadcast(T(0));
    repeat<packets>([&](auto i) ATTEND_ALWAYS_INLINE {
        denormal = simd::bit_or(denormal, simd::bit_and(simd::less(x[i], least), simd::less(lowest, x[i])));
    });
    return simd::any<T>(denormal);
}

/// Whether `exp_below` takes as long where e^x is no normal number.
template <class T>
inline constexpr bool exp_is_even = simd::has_tables<T>;

/// x -> e^x for x <= 0, at most 2 ulp off, also where it is no normal number, which is rare.
template <class T, int packets>
ATTEND_ALWAYS_INLINE inline void exp_below(simd::Packet<T> (&x)[packets]) {
    const auto each = [](auto f) ATTEND_ALWAYS_INLINE { repeat<packets>(f); };
    if constexpr (!std::is_same_v<T, float> && !std::is_same_v<T, double>) {
        each([&](auto i) ATTEND_ALWAYS_INLINE { x[i] = exp_packet<T>(x[i]); });
    } else if constexpr (exp_is_even<T>) {
        each([&](auto i) ATTEND_ALWAYS_INLINE { x[i] = simd::max(x[i], simd::broadcast(ExpConstants<T>::lowest)); });
        ExpParts<T, true, packets>(x).any(x);
    } else if (any_denormal<T>(x)) [[unlikely]] {
        each([&](auto i) ATTEND_ALWAYS_INLINE { x[i] = exp_packet<T>(x[i]); });
    } else {
        exp_of_nonpositive<T>(x);
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

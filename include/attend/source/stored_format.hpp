#pragma once
/// \file
/// What a cache may hold its numbers as.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <attend/core/stored.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// How a row x, an Eigen expression, becomes numbers of type S: `put(x, to)` writes `elements_of<S>(x.size())` of them.
/// Of most types each number by itself.
template <class S>
struct StoredFormat {
    static_assert(!std::is_integral_v<S>, "attend: of integers a cache holds std::int8_t alone");
    static_assert(std::is_floating_point_v<Compute<S>>,
                  "attend: a cache holds float, double, Eigen::half, Eigen::bfloat16, attend::Float8E4M3, "
                  "attend::Float8E5M2, std::int8_t or attend::Int4");
    static constexpr bool has_factors = false;

    template <class X>
    static void put(const X& x, S* to) {
        Eigen::Map<Eigen::Matrix<S, 1, Eigen::Dynamic>>(to, x.size()) = x.template cast<S>();
    }
};

/// With a factor for each row, which `put` returns: NaN of one that is not finite throughout. `Rounding::factor(most)`
/// is that of a row with this largest magnitude, `Rounding::round(x, factor, to)` writes the nearest quotients.
template <class S, class Rounding>
struct ScaledFormat {
    static constexpr bool has_factors = true;

    template <class X>
    static float put(const X& x, S* to) {
        const auto numbers = x.template cast<float>();
        const bool finite = numbers.allFinite();
        const float factor = finite ? Rounding::factor(numbers.cwiseAbs().maxCoeff()) : std::nanf("");
        if (factor > 0) {
            Rounding::round(numbers, factor, to);
        } else {
            std::fill_n(to, x.size(), S());
        }
        return factor;
    }
};
template <>
struct StoredFormat<std::int8_t> : ScaledFormat<std::int8_t, StoredFormat<std::int8_t>> {
    static float factor(float most) {  // 127 times which is finite
        return std::min(most / 127, std::nextafter(std::numeric_limits<float>::max() / 127, 0.F));
    }
    template <class X>
    static void round(const X& x, float factor,
                      std::int8_t* to) {  // a denormal factor has so few bits that a number may be more
        Eigen::Map<Eigen::Matrix<std::int8_t, 1, Eigen::Dynamic>>(to, x.size()) =
            (x / factor).array().round().min(127).max(-127).matrix().template cast<std::int8_t>();
    }
};
/// Factors are powers of two, which leave numbers their bits: the least with which none is too large.
template <class S>
struct Float8Format : ScaledFormat<S, Float8Format<S>> {
    static float factor(float most) {
        if (most == 0) return 0;
        const int power = std::ilogb(most) - std::ilogb(S::largest);
        const int more = std::ldexp(most, -power) > S::largest ? 1 : 0;
        return std::ldexp(1.F, std::max(power + more, std::numeric_limits<float>::min_exponent - 24));
    }
    template <class X>
    static void round(const X& x, float factor, S* to) {
        for (Index a = 0; a < x.size(); ++a) {
            to[a] = S(x.coeff(a) / factor);
            if (!std::isfinite(static_cast<float>(to[a]) * factor)) --to[a].bits;  // a finite number stays so
        }
    }
};
template <>
struct StoredFormat<Float8E4M3> : Float8Format<Float8E4M3> {};
template <>
struct StoredFormat<Float8E5M2> : Float8Format<Float8E5M2> {};
/// Groups of 32.
template <>
struct StoredFormat<Int4> {
    static constexpr bool has_factors = false;  // of rows

    template <class X>
    static void put(const X& x, Int4* to) {
        for (Index a = 0; a < x.size(); a += Int4::numbers, ++to)
            to->put([&](Index i) { return static_cast<float>(x.coeff(a + i)); }, std::min(Int4::numbers, x.size() - a));
    }
};

}  // namespace attend::detail

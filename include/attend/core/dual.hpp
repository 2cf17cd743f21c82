#pragma once
/// \file
/// Dual numbers: a value with its first derivatives in N directions, carried through arithmetic by the chain rule.
/// They give the derivative of any modifier or pair function that is written for `auto`, of scalars or of packs of
/// lanes.

#include <array>
#include <cmath>
#include <concepts>
#include <type_traits>

#include <attend/core/math.hpp>

namespace attend::inline ATTEND_ABI {

template <class V, int N = 1>
struct Dual {
    V value{};
    std::array<V, N> partial{};

    constexpr Dual() = default;
    /// A constant. Explicit for integers, as for the scalars it stands for: `decltype(s)(p.query - p.key)`.
    template <class Number>
        requires std::is_arithmetic_v<Number>
    constexpr explicit(!std::is_floating_point_v<Number>) Dual(Number number) : value(static_cast<V>(number)) {}
    /// A constant of anything else that V is made from: lanes, and indices by lane.
    template <class Other>
        requires(!std::is_arithmetic_v<Other> && std::constructible_from<V, const Other&>)
    constexpr explicit Dual(const Other& constant) : value(constant) {}
    constexpr Dual(V value_, const std::array<V, N>& partial_) : value(value_), partial(partial_) {}

    /// The variable of direction `direction` at `value`.
    static constexpr Dual variable(V value, int direction = 0) {
        Dual x;
        x.value = value;
        x.partial[static_cast<std::size_t>(direction)] = V(1);
        return x;
    }
    constexpr V derivative() const
        requires(N == 1)
    {
        return partial[0];
    }

    constexpr Dual operator-() const { return chain(-value, V(-1)); }
    constexpr Dual operator+() const { return *this; }

    friend constexpr Dual operator+(Dual a, const Dual& b) { return a += b; }
    friend constexpr Dual operator-(Dual a, const Dual& b) { return a -= b; }
    friend constexpr Dual operator*(Dual a, const Dual& b) { return a *= b; }
    friend constexpr Dual operator/(Dual a, const Dual& b) { return a /= b; }
    constexpr Dual& operator+=(const Dual& b) { return *this = combine(*this, b, value + b.value, V(1), V(1)); }
    constexpr Dual& operator-=(const Dual& b) { return *this = combine(*this, b, value - b.value, V(1), V(-1)); }
    constexpr Dual& operator*=(const Dual& b) { return *this = combine(*this, b, value * b.value, b.value, value); }
    constexpr Dual& operator/=(const Dual& b) {
        const V quotient = value / b.value;
        return *this = combine(*this, b, quotient, V(1) / b.value, -quotient / b.value);
    }

    friend constexpr bool operator==(const Dual& a, const Dual& b)
        requires std::is_arithmetic_v<V>
    {
        return a.value == b.value;
    }
    friend constexpr auto operator<(const Dual& a, const Dual& b) { return a.value < b.value; }
    friend constexpr auto operator<=(const Dual& a, const Dual& b) { return a.value <= b.value; }
    friend constexpr auto operator>(const Dual& a, const Dual& b) { return a.value > b.value; }
    friend constexpr auto operator>=(const Dual& a, const Dual& b) { return a.value >= b.value; }

    /// f(this), given f's value and slope here.
    constexpr Dual chain(V f, V slope) const {
        Dual y;
        y.value = f;
        for (std::size_t i = 0; i < N; ++i) y.partial[i] = slope * partial[i];
        return y;
    }

private:
    static constexpr Dual combine(const Dual& a, const Dual& b, V f, V slope_a, V slope_b) {
        Dual y;
        y.value = f;
        for (std::size_t i = 0; i < N; ++i) y.partial[i] = slope_a * a.partial[i] + slope_b * b.partial[i];
        return y;
    }
};

/// A number beside a dual number is a constant, of whatever arithmetic type.
#define ATTEND_DUAL_WITH_NUMBER(op)                             \
    template <class V, int N, class Number>                     \
        requires std::is_arithmetic_v<Number>                   \
    constexpr auto operator op(const Dual<V, N>& a, Number b) { \
        return a op Dual<V, N>(b);                              \
    }                                                           \
    template <class V, int N, class Number>                     \
        requires std::is_arithmetic_v<Number>                   \
    constexpr auto operator op(Number a, const Dual<V, N>& b) { \
        return Dual<V, N>(a) op b;                              \
    }
ATTEND_DUAL_WITH_NUMBER(+)
ATTEND_DUAL_WITH_NUMBER(-)
ATTEND_DUAL_WITH_NUMBER(*)
ATTEND_DUAL_WITH_NUMBER(/)
#undef ATTEND_DUAL_WITH_NUMBER
/// Compared by value alone.
#define ATTEND_DUAL_COMPARED_WITH_NUMBER(op)                    \
    template <class V, int N, class Number>                     \
        requires std::is_arithmetic_v<Number>                   \
    constexpr auto operator op(const Dual<V, N>& a, Number b) { \
        return a.value op static_cast<V>(b);                    \
    }                                                           \
    template <class V, int N, class Number>                     \
        requires std::is_arithmetic_v<Number>                   \
    constexpr auto operator op(Number a, const Dual<V, N>& b) { \
        return static_cast<V>(a) op b.value;                    \
    }
ATTEND_DUAL_COMPARED_WITH_NUMBER(<)
ATTEND_DUAL_COMPARED_WITH_NUMBER(<=)
ATTEND_DUAL_COMPARED_WITH_NUMBER(>)
ATTEND_DUAL_COMPARED_WITH_NUMBER(>=)
ATTEND_DUAL_COMPARED_WITH_NUMBER(==)
#undef ATTEND_DUAL_COMPARED_WITH_NUMBER

template <class V, int N>
Dual<V, N> exp(const Dual<V, N>& x) {
    using std::exp;
    const V f = exp(x.value);
    return x.chain(f, f);
}
template <class V, int N>
Dual<V, N> log(const Dual<V, N>& x) {
    using std::log;
    return x.chain(log(x.value), V(1) / x.value);
}
template <class V, int N>
Dual<V, N> sqrt(const Dual<V, N>& x) {
    using std::sqrt;
    const V f = sqrt(x.value);
    return x.chain(f, V(0.5) / f);
}
template <class V, int N>
Dual<V, N> tanh(const Dual<V, N>& x) {
    using std::tanh;
    const V f = tanh(x.value);
    return x.chain(f, V(1) - f * f);
}
template <class V, int N>
Dual<V, N> sin(const Dual<V, N>& x) {
    using std::cos, std::sin;
    return x.chain(sin(x.value), cos(x.value));
}
template <class V, int N>
Dual<V, N> cos(const Dual<V, N>& x) {
    using std::cos, std::sin;
    return x.chain(cos(x.value), -sin(x.value));
}
template <class V, int N, class Number>
    requires std::is_arithmetic_v<Number>
Dual<V, N> pow(const Dual<V, N>& x, Number exponent) {
    using std::pow;
    const V n = static_cast<V>(exponent);
    if constexpr (std::is_arithmetic_v<V>) {
        return x.chain(pow(x.value, n), n * pow(x.value, n - V(1)));
    } else {
        return x.chain(pow(x.value, exponent), n * pow(x.value, exponent - Number(1)));
    }
}
/// |x|, with slope 0 at 0.
template <class V, int N>
Dual<V, N> abs(const Dual<V, N>& x) {
    const V zero(0);
    const V sign = select(x.value > zero, V(1), select(x.value < zero, V(-1), zero));
    return x.chain(select(x.value < zero, -x.value, x.value), sign);
}

/// Where V is a pack of lanes, a choice by lane.
template <class Mask, class V, int N>
    requires(!std::same_as<Mask, bool>)
Dual<V, N> select(const Mask& mask, const Dual<V, N>& a, const std::type_identity_t<Dual<V, N>>& b) {
    Dual<V, N> y(select(mask, a.value, b.value), {});
    for (std::size_t i = 0; i < N; ++i) y.partial[i] = select(mask, a.partial[i], b.partial[i]);
    return y;
}
template <class V, int N>
constexpr Dual<V, N> min(const Dual<V, N>& a, const std::type_identity_t<Dual<V, N>>& b) {
    return select(b < a, b, a);
}
template <class V, int N>
constexpr Dual<V, N> max(const Dual<V, N>& a, const std::type_identity_t<Dual<V, N>>& b) {
    return select(a < b, b, a);
}

}  // namespace attend

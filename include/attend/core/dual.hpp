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
namespace detail {

/// One term of the chain rule. A factor of 0 makes it 0 whatever the other is: a constant does not move, however steep
/// the function, and a function that has levelled off stays level, however fast its argument moves (∞ · 0 would be
/// NaN). Packs of lanes bring their own.
template <class V>
constexpr V chain_product(const V& slope, const V& partial) {
    if constexpr (std::is_arithmetic_v<V>) {
        return slope == V(0) || partial == V(0) ? V(0) : slope * partial;
    } else {
        return slope * partial;
    }
}

}  // namespace detail

/// A value of V, a scalar or a pack of lanes, with its derivatives in N directions.
template <class V, int N = 1>
struct Dual {
    V value{};                   ///< f
    std::array<V, N> partial{};  ///< ∂f by direction

    constexpr Dual() = default;
    /// A constant. Explicit for integers, as for the scalars it stands for: `decltype(s)(p.query - p.key)`.
    template <class Number>
        requires std::is_arithmetic_v<Number>
    constexpr explicit(!std::is_floating_point_v<Number>) Dual(Number number) : value(static_cast<V>(number)) {}
    /// A constant of anything else that V is made from: lanes, and indices by lane.
    template <class Other>
        requires(!std::is_arithmetic_v<Other> && std::constructible_from<V, const Other&>)
    constexpr explicit Dual(const Other& constant) : value(constant) {}
    /// Of a value and its derivatives.
    constexpr Dual(V value_, const std::array<V, N>& partial_) : value(value_), partial(partial_) {}

    /// The variable of direction `direction` at `value`.
    static constexpr Dual variable(V value, int direction = 0) {
        Dual x;
        x.value = value;
        x.partial[static_cast<std::size_t>(direction)] = V(1);
        return x;
    }
    /// That of the first direction.
    constexpr V derivative() const
        requires(N == 1)
    {
        return partial[0];
    }

    constexpr Dual operator-() const {
        Dual y(-value, partial);
        for (V& p : y.partial) p = -p;
        return y;
    }
    constexpr Dual operator+() const { return *this; }

    friend constexpr Dual operator+(Dual a, const Dual& b) { return a += b; }
    friend constexpr Dual operator-(Dual a, const Dual& b) { return a -= b; }
    friend constexpr Dual operator*(Dual a, const Dual& b) { return a *= b; }
    friend constexpr Dual operator/(Dual a, const Dual& b) { return a /= b; }
    constexpr Dual& operator+=(const Dual& b) {
        value = value + b.value;
        for (std::size_t i = 0; i < N; ++i) partial[i] = partial[i] + b.partial[i];
        return *this;
    }
    constexpr Dual& operator-=(const Dual& b) {
        value = value - b.value;
        for (std::size_t i = 0; i < N; ++i) partial[i] = partial[i] - b.partial[i];
        return *this;
    }
    constexpr Dual& operator*=(const Dual& b) { return *this = combine(*this, b, value * b.value, b.value, value); }
    constexpr Dual& operator/=(const Dual& b) {
        const V quotient = value / b.value, inverse = V(1) / b.value;
        return *this = combine(*this, b, quotient, inverse, -quotient * inverse);
    }

    friend constexpr auto operator==(const Dual& a, const Dual& b) { return a.value == b.value; }
    friend constexpr auto operator!=(const Dual& a, const Dual& b) { return a.value != b.value; }
    friend constexpr auto operator<(const Dual& a, const Dual& b) { return a.value < b.value; }
    friend constexpr auto operator<=(const Dual& a, const Dual& b) { return a.value <= b.value; }
    friend constexpr auto operator>(const Dual& a, const Dual& b) { return a.value > b.value; }
    friend constexpr auto operator>=(const Dual& a, const Dual& b) { return a.value >= b.value; }

    /// f(this), given f's value and slope here.
    constexpr Dual chain(V f, V slope) const {
        using detail::chain_product;
        Dual y;
        y.value = f;
        for (std::size_t i = 0; i < N; ++i) y.partial[i] = chain_product(slope, partial[i]);
        return y;
    }

private:
    static constexpr Dual combine(const Dual& a, const Dual& b, V f, V slope_a, V slope_b) {
        using detail::chain_product;
        Dual y;
        y.value = f;
        for (std::size_t i = 0; i < N; ++i)
            y.partial[i] = chain_product(slope_a, a.partial[i]) + chain_product(slope_b, b.partial[i]);
        return y;
    }
};

namespace detail {

template <class X>
inline constexpr bool is_dual = false;
template <class V, int N>
inline constexpr bool is_dual<Dual<V, N>> = true;

/// The type of what a formula's constants are, whether it is asked for derivatives or not.
template <class X>
struct ValueOfDual {
    using type = X;
};
template <class V, int N>
struct ValueOfDual<Dual<V, N>> {
    using type = V;
};
template <class X>
using ValueOf = typename ValueOfDual<X>::type;

/// What is no dual number, but can become the value of one.
template <class C, class V>
concept ConstantOf = !is_dual<C> && (std::is_arithmetic_v<C> || std::constructible_from<V, const C&>);

}  // namespace detail

// What stands beside a dual number is a constant: a number of whatever arithmetic type, and where the value is a pack
// of lanes also such a pack, or indices by lane.
template <class V, int N, detail::ConstantOf<V> C>
constexpr Dual<V, N> operator+(const Dual<V, N>& a, const C& b) {
    return {a.value + V(b), a.partial};
}
template <class V, int N, detail::ConstantOf<V> C>
constexpr Dual<V, N> operator+(const C& a, const Dual<V, N>& b) {
    return {V(a) + b.value, b.partial};
}
template <class V, int N, detail::ConstantOf<V> C>
constexpr Dual<V, N> operator-(const Dual<V, N>& a, const C& b) {
    return {a.value - V(b), a.partial};
}
template <class V, int N, detail::ConstantOf<V> C>
constexpr Dual<V, N> operator-(const C& a, const Dual<V, N>& b) {
    return {V(a) - b.value, (-b).partial};
}
template <class V, int N, detail::ConstantOf<V> C>
constexpr Dual<V, N> operator*(const Dual<V, N>& a, const C& b) {
    return a.chain(a.value * V(b), V(b));
}
template <class V, int N, detail::ConstantOf<V> C>
constexpr Dual<V, N> operator*(const C& a, const Dual<V, N>& b) {
    return b.chain(V(a) * b.value, V(a));
}
template <class V, int N, detail::ConstantOf<V> C>
constexpr Dual<V, N> operator/(const Dual<V, N>& a, const C& b) {
    return a.chain(a.value / V(b), V(1) / V(b));
}
template <class V, int N, detail::ConstantOf<V> C>
constexpr Dual<V, N> operator/(const C& a, const Dual<V, N>& b) {
    const V quotient = V(a) / b.value;
    return b.chain(quotient, -quotient / b.value);
}

/// Compared by value alone.
#define ATTEND_DUAL_COMPARED(op)                                  \
    template <class V, int N, detail::ConstantOf<V> C>            \
    constexpr auto operator op(const Dual<V, N>& a, const C& b) { \
        return a.value op V(b);                                   \
    }                                                             \
    template <class V, int N, detail::ConstantOf<V> C>            \
    constexpr auto operator op(const C& a, const Dual<V, N>& b) { \
        return V(a) op b.value;                                   \
    }
ATTEND_DUAL_COMPARED(<)
ATTEND_DUAL_COMPARED(<=)
ATTEND_DUAL_COMPARED(>)
ATTEND_DUAL_COMPARED(>=)
ATTEND_DUAL_COMPARED(==)
ATTEND_DUAL_COMPARED(!=)
#undef ATTEND_DUAL_COMPARED

/// Elementary functions, with their derivatives.
/// @{
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
    using detail::chain_product, std::pow;
    const V n = static_cast<V>(exponent);
    if constexpr (std::is_arithmetic_v<V>) {
        return x.chain(pow(x.value, n), chain_product(n, pow(x.value, n - V(1))));
    } else {
        return x.chain(pow(x.value, exponent), chain_product(n, pow(x.value, exponent - Number(1))));
    }
}
/// @}
/// |x|, with slope 0 at 0.
template <class V, int N>
Dual<V, N> abs(const Dual<V, N>& x) {
    const V zero(0);
    const V sign = select(x.value > zero, V(1), select(x.value < zero, V(-1), zero));
    return x.chain(select(x.value < zero, -x.value, x.value), sign);
}

/// a where the mask holds, b elsewhere: where V is a pack of lanes, a choice by lane.
/// @{
template <class Mask, class V, int N>
Dual<V, N> select(const Mask& mask, const Dual<V, N>& a, const Dual<V, N>& b) {
    if constexpr (std::is_same_v<Mask, bool>) {
        return mask ? a : b;
    } else {
        Dual<V, N> y(select(mask, a.value, b.value), {});
        for (std::size_t i = 0; i < N; ++i) y.partial[i] = select(mask, a.partial[i], b.partial[i]);
        return y;
    }
}
template <class Mask, class V, int N, detail::ConstantOf<V> C>
Dual<V, N> select(const Mask& mask, const Dual<V, N>& a, const C& b) {
    return select(mask, a, Dual<V, N>(b));
}
template <class Mask, class V, int N, detail::ConstantOf<V> C>
Dual<V, N> select(const Mask& mask, const C& a, const Dual<V, N>& b) {
    return select(mask, Dual<V, N>(a), b);
}
/// @}
/// The lesser and the larger, with its derivatives; of equal ones the first.
/// @{
template <class V, int N>
constexpr Dual<V, N> min(const Dual<V, N>& a, const Dual<V, N>& b) {
    return select(b < a, b, a);
}
template <class V, int N>
constexpr Dual<V, N> max(const Dual<V, N>& a, const Dual<V, N>& b) {
    return select(a < b, b, a);
}
/// @}
#define ATTEND_DUAL_WITH_CONSTANT(f)                          \
    template <class V, int N, detail::ConstantOf<V> C>        \
    constexpr Dual<V, N> f(const Dual<V, N>& a, const C& b) { \
        return f(a, Dual<V, N>(b));                           \
    }                                                         \
    template <class V, int N, detail::ConstantOf<V> C>        \
    constexpr Dual<V, N> f(const C& a, const Dual<V, N>& b) { \
        return f(Dual<V, N>(a), b);                           \
    }
ATTEND_DUAL_WITH_CONSTANT(min)
ATTEND_DUAL_WITH_CONSTANT(max)
#undef ATTEND_DUAL_WITH_CONSTANT

namespace detail {

/// s − a·b, rounded once where the target has such an instruction, of packs whatever s is: left to the compiler, a
/// product before it might be the one that is not rounded, here and not there.
template <class S, class V>
S minus_product(const S& s, const V& a, const V& b) {
    if constexpr (requires { s.partial; }) {
        S y = s;
        y.value = minus_product(s.value, a, b);
        return y;
    } else if constexpr (requires { madd(-a, b, s); }) {
        return madd(-a, b, s);
    } else {
        return s - a * b;
    }
}

}  // namespace detail
}  // namespace attend

#pragma once
/// \file
/// Dual numbers and their arithmetic, beside one another and beside constants.

#include <array>
#include <concepts>
#include <cstddef>
#include <type_traits>

#include <attend/core/config.hpp>

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

}  // namespace attend

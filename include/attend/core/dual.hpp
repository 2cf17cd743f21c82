#pragma once
/// \file
/// Dual numbers: a value with its first derivatives in N directions, carried by the chain rule through arithmetic
/// (which has core/dual_number.hpp) and functions. They give the derivative of any modifier or pair function that is
/// written for `auto`, of scalars or of packs of lanes.

#include <cmath>
#include <cstddef>
#include <type_traits>

#include <attend/core/dual_number.hpp>
#include <attend/core/math.hpp>

namespace attend::inline ATTEND_ABI {

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

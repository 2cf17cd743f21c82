#pragma once
/// \file
/// Packets of 128 bits by the vectors of GCC and Clang, in place of Eigen's, for processors that Eigen has none for:
/// WebAssembly's SIMD. `ATTEND_GNU_PACKETS` chooses them anywhere.

#include <attend/core/simd_eigen_packets.hpp>

#if defined(ATTEND_GNU_PACKETS)

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <type_traits>

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

namespace attend::inline ATTEND_ABI::detail::simd {

using Floats [[gnu::vector_size(16)]] = float;
using Doubles [[gnu::vector_size(16)]] = double;

template <>
struct PacketOf<float> {
    using type = Floats;
    static constexpr Index size = 4;
};
template <>
struct PacketOf<double> {
    using type = Doubles;
    static constexpr Index size = 2;
};
template <>
struct PacketScalarOf<Floats> {
    using type = float;
};
template <>
struct PacketScalarOf<Doubles> {
    using type = double;
};

template <class T>
concept InVectors = std::same_as<T, float> || std::same_as<T, double>;
template <class P>
concept GnuVector = std::same_as<P, Floats> || std::same_as<P, Doubles>;

/// What a comparison of vectors gives: all bits where it holds.
template <GnuVector P>
using Truths = decltype(P{} < P{});

template <>
inline constexpr bool has_tanh<Floats> = true;
template <>
inline constexpr bool has_tanh<Doubles> = false;

template <InVectors T>
Packet<T> broadcast(T x) {
    if constexpr (width<T> == 4) {
        return Packet<T>{x, x, x, x};
    } else {
        return Packet<T>{x, x};
    }
}
template <InVectors T>
Packet<T> load(const T* from) {
    Packet<T> x;
    std::memcpy(&x, from, sizeof x);
    return x;
}
template <InVectors T>
void store(T* to, const Packet<T>& x) {
    std::memcpy(to, &x, sizeof x);
}
template <GnuVector P>
P add(const P& a, const P& b) {
    return a + b;
}
template <GnuVector P>
P sub(const P& a, const P& b) {
    return a - b;
}
template <GnuVector P>
P mul(const P& a, const P& b) {
    return a * b;
}
template <GnuVector P>
P madd(const P& a, const P& b, const P& c) {
    return a * b + c;
}
template <GnuVector P>
P quotient(const P& a, const P& b) {
    return a / b;
}
template <GnuVector P>
P negate(const P& x) {
    return -x;
}
template <GnuVector P>
P root(const P& x) {
#if defined(__wasm_simd128__)
    if constexpr (std::same_as<P, Floats>) {
        return bit_cast<P>(wasm_f32x4_sqrt(bit_cast<v128_t>(x)));
    } else {
        return bit_cast<P>(wasm_f64x2_sqrt(bit_cast<v128_t>(x)));
    }
#else
    PacketScalar<P> lanes[width<PacketScalar<P>>];
    store(lanes, x);
    for (auto& lane : lanes) lane = std::sqrt(lane);
    return load(lanes);
#endif
}
/// By arithmetic alone, which the compiler makes four lanes of again.
inline Floats rational_tanh(const Floats& x) {
    return Floats{Eigen::numext::tanh(x[0]), Eigen::numext::tanh(x[1]), Eigen::numext::tanh(x[2]),
                  Eigen::numext::tanh(x[3])};
}
template <GnuVector P>
P min(const P& a, const P& b) {
    return b < a ? b : a;
}
template <GnuVector P>
P max(const P& a, const P& b) {
    return a < b ? b : a;
}
template <GnuVector P>
P less(const P& a, const P& b) {
    return bit_cast<P>(a < b);
}
template <GnuVector P>
P less_equal(const P& a, const P& b) {
    return bit_cast<P>(a <= b);
}
template <GnuVector P>
P bit_and(const P& a, const P& b) {
    return bit_cast<P>(bit_cast<Truths<P>>(a) & bit_cast<Truths<P>>(b));
}
template <GnuVector P>
P bit_or(const P& a, const P& b) {
    return bit_cast<P>(bit_cast<Truths<P>>(a) | bit_cast<Truths<P>>(b));
}
template <GnuVector P>
P select(const P& bits, const P& then, const P& otherwise) {
    const auto chosen = bit_cast<Truths<P>>(bits);
    return bit_cast<P>((bit_cast<Truths<P>>(then) & chosen) | (bit_cast<Truths<P>>(otherwise) & ~chosen));
}
template <GnuVector P>
P select_equal(const P& a, const P& b, const P& then, const P& otherwise) {
    return a == b ? then : otherwise;
}
template <GnuVector P>
P abs(const P& x) {
    return bit_cast<P>(bit_cast<Truths<P>>(x) & ~bit_cast<Truths<P>>(-P{}));
}
template <class T, GnuVector P>
T first(const P& x) {
    return x[0];
}
template <class T, GnuVector P>
T sum(const P& x) {
    if constexpr (width<T> == 4) {
        return (x[0] + x[2]) + (x[1] + x[3]);
    } else {
        return x[0] + x[1];
    }
}
template <class T, GnuVector P>
T largest(const P& x) {
    T most = x[0];
    for (Index i = 1; i < width<T>; ++i) most = most < x[i] ? x[i] : most;
    return most;
}
template <class T, GnuVector P>
bool any(const P& mask) {
    const auto bits = bit_cast<Truths<Doubles>>(mask);
    return (bits[0] | bits[1]) != 0;
}
template <InVectors T>
Packet<T> iota() {
    if constexpr (width<T> == 4) {
        return Packet<T>{0, 1, 2, 3};
    } else {
        return Packet<T>{0, 1};
    }
}
template <GnuVector P, std::size_t n>
ATTEND_ALWAYS_INLINE inline void transpose_any(P (&rows)[n]) {
    if constexpr (n == 4) {
        const P a = __builtin_shufflevector(rows[0], rows[2], 0, 4, 1, 5),
                b = __builtin_shufflevector(rows[1], rows[3], 0, 4, 1, 5),
                c = __builtin_shufflevector(rows[0], rows[2], 2, 6, 3, 7),
                d = __builtin_shufflevector(rows[1], rows[3], 2, 6, 3, 7);
        rows[0] = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        rows[1] = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        rows[2] = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        rows[3] = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    } else {
        const P upper = __builtin_shufflevector(rows[0], rows[1], 0, 2);
        rows[1] = __builtin_shufflevector(rows[0], rows[1], 1, 3);
        rows[0] = upper;
    }
}

}  // namespace attend::detail::simd

#endif

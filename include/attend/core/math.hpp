#pragma once
/// \file
/// The functions a user's formula may call on plain scalars, as `core/dual.hpp` offers them for dual numbers. Without
/// them an unqualified `abs(s)` in a formula could mean C's `abs(int)`.

#include <cmath>
#include <concepts>
#include <type_traits>

#include <attend/core/config.hpp>

namespace attend::inline ATTEND_ABI {

// clang-format off
template <std::floating_point T> T abs(T x) { return std::abs(x); }
template <std::floating_point T> T exp(T x) { return std::exp(x); }
template <std::floating_point T> T log(T x) { return std::log(x); }
template <std::floating_point T> T sqrt(T x) { return std::sqrt(x); }
template <std::floating_point T> T tanh(T x) { return std::tanh(x); }
template <std::floating_point T> T sin(T x) { return std::sin(x); }
template <std::floating_point T> T cos(T x) { return std::cos(x); }
template <std::floating_point T> constexpr T min(T a, std::type_identity_t<T> b) { return b < a ? b : a; }
template <std::floating_point T> constexpr T max(T a, std::type_identity_t<T> b) { return a < b ? b : a; }
template <std::floating_point T> constexpr T sum(T x) { return x; }  // as of a pack of one lane
// clang-format on

/// `condition ? a : b`, in the form that also serves where a pack of lanes chooses lane by lane.
template <class X>
constexpr X select(bool condition, const X& a, const std::type_identity_t<X>& b) {
    return condition ? a : b;
}

}  // namespace attend

#pragma once
/// \file
/// The functions a user's formula may call on plain scalars, as `core/dual.hpp` and `core/lanes.hpp` offer them for
/// dual numbers and packs of lanes. Without them an unqualified `abs(s)` in a formula could mean C's `abs(int)`. Of
/// integers, such as differences of positions, they give what the language gives: |i| is an integer, √i a double.

#include <cmath>
#include <concepts>
#include <type_traits>

#include <attend/core/config.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

template <class X>
concept Arithmetic = std::is_arithmetic_v<X>;

}  // namespace detail

// clang-format off
/// What `std::` has under the same name, of floating-point numbers.
/// @{
template <std::floating_point T> T abs(T x) { return std::abs(x); }
template <std::floating_point T> T exp(T x) { return std::exp(x); }
template <std::floating_point T> T log(T x) { return std::log(x); }
template <std::floating_point T> T sqrt(T x) { return std::sqrt(x); }
template <std::floating_point T> T tanh(T x) { return std::tanh(x); }
template <std::floating_point T> T sin(T x) { return std::sin(x); }
template <std::floating_point T> T cos(T x) { return std::cos(x); }
/// @}
/// x itself: as of a pack of one lane.
template <std::floating_point T> constexpr T sum(T x) { return x; }
/// Of integers: |i| is an integer, the others are of double.
/// @{
template <std::signed_integral Number> constexpr auto abs(Number i) { return i < 0 ? -i : +i; }
template <std::integral Number> double exp(Number i) { return std::exp(static_cast<double>(i)); }
template <std::integral Number> double log(Number i) { return std::log(static_cast<double>(i)); }
template <std::integral Number> double sqrt(Number i) { return std::sqrt(static_cast<double>(i)); }
template <std::integral Number> double tanh(Number i) { return std::tanh(static_cast<double>(i)); }
template <std::integral Number> double sin(Number i) { return std::sin(static_cast<double>(i)); }
template <std::integral Number> double cos(Number i) { return std::cos(static_cast<double>(i)); }
/// @}
// clang-format on

/// The lesser and the larger, in the type that both have in common; of equal ones, and of NaN, the first.
/// @{
template <detail::Arithmetic A, detail::Arithmetic B>
constexpr auto min(A a, B b) {
    using C = std::common_type_t<A, B>;
    return static_cast<C>(b) < static_cast<C>(a) ? static_cast<C>(b) : static_cast<C>(a);
}
template <detail::Arithmetic A, detail::Arithmetic B>
constexpr auto max(A a, B b) {
    using C = std::common_type_t<A, B>;
    return static_cast<C>(a) < static_cast<C>(b) ? static_cast<C>(b) : static_cast<C>(a);
}
/// @}
/// `condition ? a : b`, in the form that also serves where a pack of lanes chooses lane by lane.
template <detail::Arithmetic A, detail::Arithmetic B>
constexpr auto select(bool condition, A a, B b) {
    using C = std::common_type_t<A, B>;
    return condition ? static_cast<C>(a) : static_cast<C>(b);
}

}  // namespace attend

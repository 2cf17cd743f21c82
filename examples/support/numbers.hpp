#pragma once

#include <attend/core/parameters.hpp>

#include <algorithm>
#include <functional>
#include <span>
#include <type_traits>
#include <vector>

namespace support {

template <class T>
using Numbers = std::vector<std::span<T>>;

/// The parameters of scalar type T, each as its numbers, in the order of visiting: what an optimiser needs to know of a
/// model. (The numbers of an attention's own parts, a slope or a cap, are double whatever the rest.)
template <class T, class Model>
Numbers<T> numbers_of(Model& model) {
    Numbers<T> numbers;
    attend::visit_parameters(model, [&](std::string_view, auto& value) {
        if constexpr (std::is_same_v<typename std::remove_cvref_t<decltype(value)>::Scalar, T>)
            numbers.emplace_back(value.data(), static_cast<std::size_t>(value.size()));
    });
    return numbers;
}

template <class T>
void fill(const Numbers<T>& numbers, T value) {
    for (const auto& parameter : numbers) std::ranges::fill(parameter, value);
}

/// total += part
template <class T>
void add(const Numbers<T>& total, const Numbers<T>& part) {
    for (std::size_t p = 0; p < total.size(); ++p)
        std::ranges::transform(total[p], part[p], total[p].begin(), std::plus{});
}

template <class T>
void copy(const Numbers<T>& from, const Numbers<T>& to) {
    for (std::size_t p = 0; p < from.size(); ++p) std::ranges::copy(from[p], to[p].begin());
}

template <class T>
bool same_numbers(const Numbers<T>& a, const Numbers<T>& b) {
    return std::ranges::equal(a, b, [](auto x, auto y) { return std::ranges::equal(x, y); });
}

}  // namespace support

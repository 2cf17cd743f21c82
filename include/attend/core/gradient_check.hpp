#pragma once
/// \file
/// Is a value of parameters' gradients one that `backward` may add into?

#include <array>
#include <string>
#include <type_traits>

#include <attend/core/errors.hpp>
#include <attend/core/output.hpp>
#include <attend/core/overlap.hpp>
#include <attend/core/parameters.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Calls `f(matrix)` for every parameter, a scalar as a 1×1 map, in the order of `visit_parameters` but without the
/// names, which may need the heap.
template <class Part, class F>
void for_each_parameter(Part& part, F&& f) {
    if constexpr (HasParameters<Part>) {
        std::remove_const_t<Part>::parameters(part, [&f](std::string_view, auto& member) {
            using Member = std::remove_reference_t<decltype(member)>;
            if constexpr (std::is_arithmetic_v<Member>) {
                using Scalar = Eigen::Matrix<std::remove_const_t<Member>, 1, 1>;
                f(Eigen::Map<std::conditional_t<std::is_const_v<Member>, const Scalar, Scalar>>(&member));
            } else if constexpr (requires { member.derived(); }) {
                f(member);
            } else {
                for_each_parameter(member, f);
            }
        });
    }
}

/// The name of parameter `index`, for an error.
template <class Value>
std::string parameter_name(const Value& value, Index index) {
    std::string found;
    visit_members(value, std::string(), [&](std::string_view name, const auto&) {
        if (index-- == 0) found = name;
    });
    return found;
}

/// Throws unless `gradient` is another object than `value` whose parameters have the same shapes, and each of them
/// passes `f(matrix, index)`. No heap; O(parameters).
template <class Value, class F>
void check_gradient(const Value& value, const Value& gradient, F&& f) {
    if (&value == &gradient) refuse("gradient is the very value that it is asked of: make one by zero_gradient");
    struct Extent {
        Index rows, columns;
    };
    constexpr Index at_once = 32;
    std::array<Extent, at_once> wanted{};
    for (Index begin = 0, all = at_once; begin < all; begin += at_once) {
        Index i = 0;
        for_each_parameter(value, [&](const auto& matrix) {
            if (begin <= i && i < begin + at_once)
                wanted[static_cast<std::size_t>(i - begin)] = {matrix.rows(), matrix.cols()};
            ++i;
        });
        all = i;
        i = 0;
        for_each_parameter(gradient, [&](const auto& matrix) {
            if (begin <= i && i < begin + at_once) {
                const Extent& w = wanted[static_cast<std::size_t>(i - begin)];
                if (i >= all || w.rows != matrix.rows() || w.columns != matrix.cols())
                    refuse("gradient: ", named(parameter_name(gradient, i), matrix.rows(), matrix.cols()), " must be ",
                           w.rows, "x", w.columns, ", as the parameter is: make one by zero_gradient");
                f(matrix, i);
            }
            ++i;
        });
        if (i != all) refuse("gradient: has ", i, " parameters for ", all, ": make one by zero_gradient");
    }
}

}  // namespace attend::detail

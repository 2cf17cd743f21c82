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

/// Throws unless `gradient` is another object than `value` whose parameters have the same shapes, and each of them
/// passes `f(matrix, name)`. No heap; O(parameters).
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
        const auto note = [&](const ParameterName&, const auto& matrix) {
            if (begin <= i && i < begin + at_once)
                wanted[static_cast<std::size_t>(i - begin)] = {matrix.rows(), matrix.cols()};
            ++i;
        };
        walk_parameters(value, {}, note);
        all = i;
        i = 0;
        const auto compare = [&](const ParameterName& name, const auto& matrix) {
            if (begin <= i && i < begin + at_once) {
                const Extent& w = wanted[static_cast<std::size_t>(i - begin)];
                if (i >= all || w.rows != matrix.rows() || w.columns != matrix.cols())
                    refuse("gradient: ", named(name.text(), matrix.rows(), matrix.cols()), " must be ", w.rows, "x",
                           w.columns, ", as the parameter is: make one by zero_gradient");
                f(matrix, name);
            }
            ++i;
        };
        walk_parameters(gradient, {}, compare);
        if (i != all) refuse("gradient: has ", i, " parameters for ", all, ": make one by zero_gradient");
    }
}

}  // namespace attend::detail

#pragma once
/// \file
/// Is a value of parameters' gradients one that `backward` may add into?

#include <attend/core/errors.hpp>
#include <attend/core/output.hpp>
#include <attend/core/overlap.hpp>
#include <attend/core/parameters_in_step.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Throws unless `gradient`, a value of the same type or its compute form, is another object than `value` whose
/// parameters have the same shapes, and each of them passes `f(matrix, name)`. No heap; O(parameters).
template <class Value, class Gradient, class F>
void check_gradient(const Value& value, const Gradient& gradient, F&& f) {
    if (static_cast<const void*>(&value) == &gradient)
        refuse("gradient is the very value that it is asked of: make one by zero_gradient");
    check_same_parameters(value, gradient, "gradient: ", ": make one by zero_gradient", f);
}

}  // namespace attend::detail

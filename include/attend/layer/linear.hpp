#pragma once
/// \file
/// A linear map with bias, y = x W + b, and its gradients.

#include <string_view>

#include <attend/core/errors.hpp>
#include <attend/core/row_products.hpp>

namespace attend::detail {

/// y = x W + b for rows x; an empty b is none.
template <class X, class Weight, class Bias, class Y>
void linear(const X& x, const Weight& weight, const Bias& bias, Y& y) {
    y.noalias() = x * weight;
    if (bias.size() > 0) y.rowwise() += bias.transpose();
}

/// Adds the gradients of W and b.
template <class X, class DY, class Weight, class Bias>
void linear_parameters_backward(const X& x, const DY& dy, Weight& dweight, Bias& dbias) {
    add_outer_products(dweight, x, dy);
    if (dbias.size() > 0) dbias += dy.colwise().sum().transpose();
}

}  // namespace attend::detail

#pragma once
/// \file
/// A linear map with bias, y = x W + b, and its gradients.

#include <attend/core/product.hpp>
#include <attend/core/row_products.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// y = x W + b for rows x; an empty b is none.
template <class X, class Weight, class Bias, class Y>
void linear(const X& x, const Weight& weight, const Bias& bias, Y& y) {
    y.resize(x.rows(), weight.cols());
    if (bias.size() > 0) {
        y.rowwise() = bias.transpose();
    } else {
        y.setZero();
    }
    add_product(y, x, weight);
}

/// Adds the gradients of W and b.
template <class X, class DY, class Weight, class Bias>
void linear_parameters_backward(const X& x, const DY& dy, Weight& dweight, Bias& dbias) {
    add_outer_products(dweight, x, dy);
    if (dbias.size() == 0) return;
    // Row by row: Eigen 3.4 cannot sum columns of 16 bits where it has packets of them.
    for (Index i = 0; i < dy.rows(); ++i) dbias += dy.row(i).transpose();
}

}  // namespace attend::detail

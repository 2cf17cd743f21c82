#pragma once
/// \file
/// A linear map with bias, y = x W + b, and its gradients.

#include <algorithm>
#include <type_traits>

#include <attend/engine/packed_matrix.hpp>
#include <attend/engine/row_products.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// y = x W + b for rows x; an empty b is none. 16-bit scalars are computed in float and rounded once, here and below.
/// `packed`: W, to be used for more than a few rows.
template <class X, class Weight, class Bias, class Y>
void linear(const X& x, const Weight& weight, const Bias& bias, Y& y, const ExecutorRef& executor,
            [[maybe_unused]] const PackedMatrix<typename Weight::Scalar>* packed = nullptr) {
    y.resize(x.rows(), weight.cols());
    // Line by line: the replicated vector as one expression is read scalar by scalar.
    if (bias.size() == 0) {
        y.setZero();
    } else if constexpr (Y::IsRowMajor) {
        for (Index i = 0; i < y.rows(); ++i) y.row(i) = bias.transpose();
    } else {
        for (Index j = 0; j < y.cols(); ++j) y.col(j).setConstant(bias[j]);
    }
    if constexpr (std::is_same_v<typename Weight::Scalar, Compute<typename Weight::Scalar>>) {
        if (packed != nullptr && x.rows() > most_few_rows) return add_product(y, x, *packed, executor);
    }
    add_product(y, x, weight, executor);
}

/// Adds the gradients of W and b.
template <class X, class DY, class Weight, class Bias>
void linear_parameters_backward(const X& x, const DY& dy, Weight& dweight, Bias& dbias, const ExecutorRef& executor) {
    using T = typename Bias::Scalar;
    using C = Compute<T>;
    add_outer_products(dweight, x, dy, executor);
    if (dbias.size() == 0) return;
    if constexpr (std::is_same_v<T, C>) {
        for (Index i = 0; i < dy.rows(); ++i) dbias += dy.row(i).transpose();
    } else {
        constexpr int most = 256;
        for (Index j = 0; j < dbias.size(); j += most) {
            const Index columns = std::min<Index>(most, dbias.size() - j);
            Eigen::Matrix<C, Eigen::Dynamic, 1, Eigen::ColMajor, most, 1> sum =
                dbias.segment(j, columns).template cast<C>();
            for (Index i = 0; i < dy.rows(); ++i) sum += dy.row(i).segment(j, columns).transpose().template cast<C>();
            dbias.segment(j, columns) = sum.template cast<T>();
        }
    }
}

}  // namespace attend::detail

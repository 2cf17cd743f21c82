#pragma once
/// \file
/// A linear map of rows, and the gradient of its weight.

#include <algorithm>
#include <type_traits>

#include <attend/core/product.hpp>

namespace attend::detail {

/// out += x · weight, computed in C, row by row and in the order of the features: Eigen picks the routine of a whole
/// product by its size, and with it the bits of a row.
template <class C, class X, class Weight, class Out>
void add_row_products(const X& x, const Weight& weight, Out& out) {
    constexpr Index chunk = 256, panel = 32;
    if constexpr (!std::is_same_v<typename Weight::Scalar, C>) {
        // Widened block by block on the stack, in the same storage order, which decides the order of the sums.
        constexpr int order = Weight::IsRowMajor ? Eigen::RowMajor : Eigen::ColMajor;
        Eigen::Matrix<C, Eigen::Dynamic, Eigen::Dynamic, order, chunk, panel> wide;
        for (Index column = 0; column < weight.cols(); column += panel) {
            for (Index begin = 0; begin < x.cols(); begin += chunk) {
                wide = weight
                           .block(begin, column, std::min(chunk, x.cols() - begin),
                                  std::min(panel, weight.cols() - column))
                           .template cast<C>();
                auto columns = out.middleCols(column, wide.cols());
                add_row_products<C>(x.middleCols(begin, wide.rows()), wide, columns);
            }
        }
    } else {
        Eigen::Matrix<C, 1, Eigen::Dynamic, Eigen::RowMajor, 1, chunk> features;
        for (Index i = 0; i < x.rows(); ++i) {
            for (Index begin = 0; begin < x.cols(); begin += chunk) {
                const Index n = std::min(chunk, x.cols() - begin);
                features = x.row(i).segment(begin, n).template cast<C>();
                out.row(i) += features.lazyProduct(weight.middleRows(begin, n)).template cast<typename Out::Scalar>();
            }
        }
    }
}

/// dweight += Σ_rows xᵀ dy, where a row whose dy is 0 adds nothing whatever its x holds: a masked row may hold NaN.
template <class Weight, class Rows, class Gradients>
void add_outer_products(Weight& dweight, const Rows& x, const Gradients& dy) {
    using Scalar = typename Weight::Scalar;
    // A product reads contiguous matrices of one scalar where they are; others it would copy.
    constexpr bool one_scalar =
        std::is_same_v<typename Rows::Scalar, Scalar> && std::is_same_v<typename Gradients::Scalar, Scalar>;
    if constexpr (one_scalar && Rows::InnerStrideAtCompileTime == 1 && Gradients::InnerStrideAtCompileTime == 1) {
        if (x.allFinite()) return add_product(dweight, x.transpose(), dy);
    }
    for (Index i = 0; i < x.rows(); ++i) {
        if ((dy.row(i).array() == typename Gradients::Scalar(0)).all()) continue;
        for (Index a = 0; a < x.cols(); ++a) {
            dweight.row(a) += (dy.row(i) * static_cast<typename Gradients::Scalar>(x(i, a))).template cast<Scalar>();
        }
    }
}

}  // namespace attend::detail

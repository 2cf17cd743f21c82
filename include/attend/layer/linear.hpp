#pragma once
/// \file
/// A linear map with bias, y = x W + b, and its gradients.

#include <algorithm>
#include <type_traits>

#include <attend/core/options.hpp>
#include <attend/core/view.hpp>
#include <attend/engine/packed_matrix.hpp>
#include <attend/engine/row_products.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Sums that start from b, or if it is empty from 0.
template <class Bias>
ProductStart<typename Bias::Scalar> start_of(const Bias& bias) {
    if (bias.size() == 0) return ProductStart<typename Bias::Scalar>::zero();
    return {bias.data()};
}

/// y = x W + b for rows x; an empty b is none. 16-bit scalars are computed in float and rounded once, here and below.
/// `packed`: W, if it has been packed; few rows have other bits then.
template <class X, class Weight, class Bias, class Y>
void linear(const X& x, const Weight& weight, const Bias& bias, Y& y, const ExecutorRef& executor,
            [[maybe_unused]] const PackedMatrix<typename Weight::Scalar>* packed = nullptr) {
    y.resize(x.rows(), weight.cols());
    if constexpr (std::is_same_v<typename Weight::Scalar, Compute<typename Weight::Scalar>>) {
        if (packed != nullptr) return add_product(y, x, *packed, executor, start_of(bias));
    }
    add_product(y, x, weight, executor, start_of(bias));
}
/// The same of the rows of sequences, each of which has the bits that it has alone: of few rows several sequences go
/// together, a few rows at a time.
template <class X, class Weight, class Bias, class Y>
void linear_by_sequences(const X& x, const SequencesRef& sequences, const Weight& weight, const Bias& bias, Y& y,
                         const ExecutorRef& executor, const PackedMatrix<typename Weight::Scalar>* packed) {
    if (packed != nullptr || sequences.count() == 1) return linear(x, weight, bias, y, executor, packed);
    y.resize(x.rows(), weight.cols());
    const auto map = [&](Index begin, Index end) {
        const auto some = x.middleRows(begin, end - begin);
        auto to = y.middleRows(begin, end - begin);
        add_product(to, some, weight, executor, start_of(bias));
    };
    for (Index s = 0; s < sequences.count();) {
        const Index begin = sequences.begin(s);
        if (sequences.length(s) > most_few_rows) {
            map(begin, sequences.begin(++s));
            continue;
        }
        while (s < sequences.count() && sequences.length(s) <= most_few_rows) ++s;
        const Index end = sequences.begin(s);
        for (Index i = begin; i < end; i += most_few_rows) map(i, std::min(end, i + most_few_rows));
    }
}

/// Calls `f` with a matrix as an Eigen object that knows its storage order: a product writes lines that it knows to
/// be contiguous up to twice as fast.
template <class T, class F>
void in_storage_order(const StridedView<T>& y, const F& f) {
    using Outer = Eigen::OuterStride<>;
    if (y.column_stride == 1) {
        f(Eigen::Map<RowMatrix<T>, Eigen::Unaligned, Outer>(y.data, y.rows, y.columns, Outer(y.row_stride)));
    } else if (y.row_stride == 1) {
        f(Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>, Eigen::Unaligned, Outer>(
            y.data, y.rows, y.columns, Outer(y.column_stride)));
    } else {
        f(Slice<T>(y.data, y.rows, y.columns, {y.row_stride, y.column_stride}));
    }
}

/// Adds the gradients of W and b.
template <class X, class DY, class Weight, class Bias>
void linear_parameters_backward(const X& x, const DY& dy, Weight& dweight, Bias& dbias, const ExecutorRef& executor) {
    using T = typename Bias::Scalar;
    using C = Compute<T>;
    add_outer_products(dweight, x, dy, executor);
    if (dbias.size() == 0) return;
    if constexpr (std::is_same_v<typename DY::Scalar, C>) {
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

#pragma once
/// \file
/// Rows of operands, copied and added to, whatever their storage order.

#include <algorithm>
#include <type_traits>

#include <attend/core/stored.hpp>
#include <attend/core/transposed.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Whether the rows of a slice, of scalars T, stand side by side: a column-major operand. They go a square of packets
/// at a time: row by row each scalar would be on a line of its own, and columns a power of two apart crowd each other
/// out of the cache.
template <class T, class Rows>
bool is_column_major(const Rows& rows) {
    return std::is_same_v<T, typename Rows::Scalar> && rows.outerStride() == 1 && rows.innerStride() != 1;
}

/// to[i · stride + a] = factor · rows(i, a)
template <class T, class Rows>
void copy_rows(const Rows& rows, T factor, T* to, Index stride) {
    Eigen::Map<RowMatrix<T>, Eigen::Unaligned, Eigen::OuterStride<>> copy(to, rows.rows(), rows.cols(),
                                                                          Eigen::OuterStride<>(stride));
    if constexpr (std::is_same_v<T, typename Rows::Scalar>) {
        if (is_column_major<T>(rows)) {
            transpose_into(rows.data(), rows.innerStride(), rows.cols(), rows.rows(), to, stride);
            if (factor != T(1)) copy *= factor;
            return;
        }
    }
    if constexpr (!std::is_same_v<T, typename Rows::Scalar>) {
        if (rows.innerStride() == 1) {
            for (Index i = 0; i < rows.rows(); ++i)
                simd::convert(rows.data() + i * rows.outerStride(), rows.cols(), to + i * stride);
            if (factor != T(1)) copy *= factor;
            return;
        }
    }
    copy = rows.template cast<T>() * factor;
}

/// to[a] += factor · from[a] for `columns` of them, rounded once
template <class T, class X>
void add_to_row(const T* from, Index columns, T factor, X* to) {
    const auto f = simd::broadcast(factor);
    for (Index a = 0; a < columns; a += simd::width<T>) {
        const Index count = std::min(simd::width<T>, columns - a);
        const auto sum = simd::madd(f, simd::load(from + a, count, T(0)), simd::load_as<T>(to + a, count));
        simd::store_as<T>(to + a, sum, count);
    }
}

/// rows(i, a) += factor · from[i · stride + a], rounded once
template <class T, class Rows>
void add_rows(const T* from, Index stride, T factor, Rows&& rows) {
    using X = typename std::remove_cvref_t<Rows>::Scalar;
    if constexpr (std::is_same_v<T, X>) {
        if (is_column_major<T>(rows)) {
            add_transposed(from, stride, rows.rows(), rows.cols(), rows.data(), rows.innerStride(), factor);
            return;
        }
    }
    const Eigen::Map<const RowMatrix<T>, Eigen::Unaligned, Eigen::OuterStride<>> added(from, rows.rows(), rows.cols(),
                                                                                       Eigen::OuterStride<>(stride));
    if constexpr (std::is_same_v<T, X>) {
        rows += added * factor;
    } else if (rows.innerStride() == 1) {
        for (Index i = 0; i < rows.rows(); ++i)
            add_to_row(from + i * stride, rows.cols(), factor, rows.data() + i * rows.outerStride());
    } else {
        rows = (rows.template cast<T>() + added * factor).template cast<X>();
    }
}

}  // namespace attend::detail

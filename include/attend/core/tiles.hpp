#pragma once
/// \file
/// Tiles of operands, as kernels and engines read them.

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {

/// A matrix read scalar by scalar, through any strides: rows × depth.
template <class T>
struct StridedMatrix {
    const T* data;
    Index row_stride, depth_stride;

    T operator()(Index row, Index k) const { return data[row * row_stride + k * depth_stride]; }
};

/// Rows of keys or values, the scalars of each of which follow each other.
template <class T>
struct RowBlock {
    using Scalar = T;
    const T* data;
    Index stride, rows, columns;
    bool streams = false;        ///< these are a few of so many that they come from memory
    const T* ahead = nullptr;    ///< what to ask for while these are read; none: those some rows behind
    Index pass = 0, passes = 1;  ///< of those who read them one after the other, who asks for a share of what is behind

    const T* row(Index i) const { return data + i * stride; }
    RowBlock from(Index i) const { return {row(i), stride, rows - i, columns, streams, ahead}; }
    RowBlock part(Index i, Index count) const { return {row(i), stride, count, columns}; }
};

/// Rows that stand anywhere.
template <class T>
struct ListedRows {
    using Scalar = T;
    const T* const* list;
    Index rows, columns;

    const T* row(Index i) const { return list[i]; }
    ListedRows part(Index i, Index count) const { return {list + i, count, columns}; }
};

/// Rows that are held as numbers of fewer bits, row i times `factors[i]`.
template <class T>
struct ScaledRows : RowBlock<T> {
    const float* factors;

    ScaledRows from(Index i) const { return {RowBlock<T>::from(i), factors + i}; }
};

namespace detail {

/// Whether a row is what is held times a factor of its own.
template <class Rows>
concept HasFactors = requires(const Rows& rows) { rows.factors; };

}  // namespace detail

}  // namespace attend

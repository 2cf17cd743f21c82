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
    const T* data;
    Index stride, rows, columns;
    bool streams = false;  ///< these are a few of so many that they come from memory, and those behind them come next

    const T* row(Index i) const { return data + i * stride; }
};

}  // namespace attend

#pragma once
/// \file
/// Tiles of operands, as kernels and engines read them.

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {

/// A matrix read scalar by scalar, through any strides: rows × depth.
template <class T>
struct StridedMatrix {
    const T* data;                   ///< the first element
    Index row_stride, depth_stride;  ///< from one to the next, in elements

    /// An element.
    T operator()(Index row, Index k) const { return data[row * row_stride + k * depth_stride]; }
};

/// So many numbers stand in one T: of most types one.
template <class T>
inline constexpr Index numbers_in = 1;

/// Rows of keys or values, the scalars of each of which follow each other.
template <class T>
struct RowBlock {
    using Scalar = T;             ///< of the rows
    const T* data;                ///< the first row
    Index stride, rows, columns;  ///< elements from one row to the next, how many rows, and their numbers
    bool streams = false;         ///< these are a few of so many that they come from memory
    const T* ahead = nullptr;     ///< what to ask for while these are read; none: those some rows behind
    Index pass = 0, passes = 1;  ///< of those who read them one after the other, who asks for a share of what is behind

    /// Where a row begins.
    const T* row(Index i) const { return data + i * stride; }
    /// The rows from i on.
    RowBlock from(Index i) const { return {row(i), stride, rows - i, columns, streams, ahead}; }
    /// `count` of them from i on.
    RowBlock part(Index i, Index count) const { return {row(i), stride, count, columns}; }
};

/// Rows that stand anywhere.
template <class T>
struct ListedRows {
    using Scalar = T;      ///< of the rows
    const T* const* list;  ///< where each row begins
    Index rows, columns;   ///< how many rows, and their width

    /// Where a row begins.
    const T* row(Index i) const { return list[i]; }
    /// `count` of them from i on.
    ListedRows part(Index i, Index count) const { return {list + i, count, columns}; }
};

/// Rows that are held as numbers of fewer bits, row i times `factors[i]`.
template <class T>
struct ScaledRows : RowBlock<T> {
    const float* factors;  ///< one a row

    /// The rows from i on.
    ScaledRows from(Index i) const { return {RowBlock<T>::from(i), factors + i}; }
};

namespace detail {

/// So many T hold `count` numbers.
template <class T>
constexpr Index elements_of(Index count) {
    return (count + numbers_in<T> - 1) / numbers_in<T>;
}
/// The numbers of a row, to be read from any of them on.
template <class T>
const T* numbers_of(const T* row) {
    return row;
}

/// Whether a row is what is held times a factor of its own.
template <class Rows>
concept HasFactors = requires(const Rows& rows) { rows.factors; };

}  // namespace detail

}  // namespace attend

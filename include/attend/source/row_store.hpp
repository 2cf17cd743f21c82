#pragma once
/// \file
/// The memory of a cache: rows of one width, held as numbers of some type.

#include <algorithm>
#include <type_traits>

#include <attend/core/row_lanes.hpp>
#include <attend/core/tiles.hpp>
#include <attend/source/stored_format.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Rows of one width that somebody holds as Stored says in `StoredFormat`, some with a factor for each row, read by
/// calls that compute in T.
template <class T, class Stored>
struct StoredRows {
    static constexpr bool has_factors = StoredFormat<Stored>::has_factors;
    static constexpr bool is_narrower = !std::is_same_v<T, Stored>;
    using Held = std::conditional_t<has_factors, ScaledRows<Stored>, RowBlock<Stored>>;

    const Stored* numbers = nullptr;
    const float* factors = nullptr;
    Index width = 0;

    /// The first `columns` of rows as T, in place or in `room`.
    RowBlock<T> rows(Index row, Index count, Index columns, T* room) const {
        if constexpr (!is_narrower) {
            return {at(row), stride(), count, columns};
        } else {
            copy_to(row, count, columns, room);
            return {room, columns, count, columns};
        }
    }
    void copy_to(Index row, Index count, Index columns, T* room) const {
        for (Index i = row; i < row + count; ++i, room += columns) {
            simd::convert(numbers_of(at(i)), columns, room);
            if constexpr (has_factors) scale_row(room, columns, static_cast<T>(factors[i]), room, 1);
        }
    }
    /// The first `columns` of rows as they are held.
    Held held(Index row, Index count, Index columns) const {
        const RowBlock<Stored> rows{at(row), stride(), count, columns};
        if constexpr (has_factors) {
            return {rows, factors + row};
        } else {
            return rows;
        }
    }

private:
    Index stride() const { return elements_of<Stored>(width); }
    const Stored* at(Index row) const { return numbers + row * stride(); }
};

/// The memory of such rows.
template <class T, class Stored>
class RowStore {
    using Format = StoredFormat<Stored>;

public:
    using Rows = StoredRows<T, Stored>;
    static constexpr bool has_factors = Rows::has_factors;
    static constexpr bool is_narrower = Rows::is_narrower;
    using Held = typename Rows::Held;

    RowStore() = default;
    RowStore(Index rows, Index width)
        : width_(width),
          stride_(elements_of<Stored>(width)),
          numbers_(rows * stride_),
          factors_(has_factors ? rows : 0) {}

    Index width() const { return width_; }
    /// Rows from `row` on become `x`, an Eigen expression.
    template <class X>
    void put(Index row, const X& x) {
        for (Index i = 0; i < x.rows(); ++i) {
            if constexpr (has_factors) {
                factors_[row + i] = Format::put(x.row(i), at(row + i));
            } else {
                Format::put(x.row(i), at(row + i));
            }
        }
    }
    void copy(Index from, Index to, Index rows) {
        std::copy_n(at(from), rows * stride_, at(to));
        if constexpr (has_factors) std::copy_n(factors_.data() + from, rows, factors_.data() + to);
    }

    /// All of them, to be read.
    Rows all() const { return {numbers_.data(), factors_.data(), width_}; }
    /// Rows as T, in place or in `room`; or the first `columns` of them.
    RowBlock<T> rows(Index row, Index count, T* room) const { return rows(row, count, width_, room); }
    RowBlock<T> rows(Index row, Index count, Index columns, T* room) const {
        return all().rows(row, count, columns, room);
    }
    void copy_to(Index row, Index count, T* room) const { all().copy_to(row, count, width_, room); }
    /// Rows as they are held, or the first `columns` of them.
    Held held(Index row, Index count) const { return held(row, count, width_); }
    Held held(Index row, Index count, Index columns) const { return all().held(row, count, columns); }

private:
    Stored* at(Index row) { return numbers_.data() + row * stride_; }

    Index width_ = 0, stride_ = 0;
    ColumnVector<Stored> numbers_;
    ColumnVector<float> factors_;
};

}  // namespace attend::detail

#pragma once
/// \file
/// The memory of a cache: rows of one width, held as numbers of some type.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include <attend/core/row_lanes.hpp>
#include <attend/core/stored.hpp>
#include <attend/core/tiles.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Rows of one width that somebody holds as Stored, those of `std::int8_t` with a factor for each row, read by calls
/// that compute in T.
template <class T, class Stored>
struct StoredRows {
    static constexpr bool has_factors = std::is_same_v<Stored, std::int8_t>;
    static constexpr bool is_narrower = !std::is_same_v<T, Stored>;
    using Held = std::conditional_t<has_factors, ScaledRows<Stored>, RowBlock<Stored>>;

    const Stored* numbers = nullptr;
    const float* factors = nullptr;
    Index width = 0;

    /// The first `columns` of rows as T, in place or in `room`.
    RowBlock<T> rows(Index row, Index count, Index columns, T* room) const {
        if constexpr (!is_narrower) {
            return {at(row), width, count, columns};
        } else {
            if (columns == width) {
                copy_to(row, count, room);
            } else {
                for (Index i = 0; i < count; ++i) {
                    simd::convert(at(row + i), columns, room + i * columns);
                    if constexpr (has_factors)
                        scale_row(room + i * columns, columns, static_cast<T>(factors[row + i]), room + i * columns, 1);
                }
            }
            return {room, columns, count, columns};
        }
    }
    void copy_to(Index row, Index count, T* room) const {
        if constexpr (!is_narrower) {
            std::copy_n(at(row), count * width, room);
        } else {
            simd::convert(at(row), count * width, room);
            if constexpr (has_factors) {
                for (Index i = 0; i < count; ++i)
                    scale_row(room + i * width, width, static_cast<T>(factors[row + i]), room + i * width, 1);
            }
        }
    }
    /// The first `columns` of rows as they are held.
    Held held(Index row, Index count, Index columns) const {
        const RowBlock<Stored> rows{at(row), width, count, columns};
        if constexpr (has_factors) {
            return {rows, factors + row};
        } else {
            return rows;
        }
    }

private:
    const Stored* at(Index row) const { return numbers + row * width; }
};

/// Rows for calls that compute in T, held as Stored; those of `std::int8_t` with a factor for each row, the largest
/// magnitude of which becomes 127: what is given back is off by at most 1/254 of it. A row that is not finite
/// throughout has a factor of NaN.
template <class T, class Stored>
class RowStore {
public:
    using Rows = StoredRows<T, Stored>;
    static constexpr bool has_factors = Rows::has_factors;
    static constexpr bool is_narrower = Rows::is_narrower;
    static_assert(has_factors || !std::is_integral_v<Stored>, "attend: of integers a cache holds std::int8_t alone");
    using Held = typename Rows::Held;

    RowStore() = default;
    RowStore(Index rows, Index width) : width_(width), numbers_(rows * width), factors_(has_factors ? rows : 0) {}

    Index width() const { return width_; }
    /// Rows from `row` on become `x`, an Eigen expression.
    template <class X>
    void put(Index row, const X& x) {
        Eigen::Map<RowMatrix<Stored>> to(at(row), x.rows(), width_);
        if constexpr (has_factors) {
            for (Index i = 0; i < x.rows(); ++i) {
                const auto numbers = x.row(i).template cast<float>();
                const float most = numbers.cwiseAbs().maxCoeff(), factor = most / 127;
                const bool finite = numbers.allFinite(), any = finite && factor > 0;
                factors_[row + i] = finite ? factor : std::nanf("");
                if (any) {  // a denormal factor has so few bits that the largest number may come to more
                    to.row(i) = (numbers / factor).array().round().min(127).max(-127).matrix().template cast<Stored>();
                } else {
                    to.row(i).setZero();
                }
            }
        } else {
            to = x.template cast<Stored>();
        }
    }
    void copy(Index from, Index to, Index rows) {
        std::copy_n(at(from), rows * width_, at(to));
        if constexpr (has_factors) std::copy_n(factors_.data() + from, rows, factors_.data() + to);
    }

    /// All of them, to be read.
    Rows all() const { return {numbers_.data(), factors_.data(), width_}; }
    /// Rows as T, in place or in `room`; or the first `columns` of them.
    RowBlock<T> rows(Index row, Index count, T* room) const { return rows(row, count, width_, room); }
    RowBlock<T> rows(Index row, Index count, Index columns, T* room) const {
        return all().rows(row, count, columns, room);
    }
    void copy_to(Index row, Index count, T* room) const { all().copy_to(row, count, room); }
    /// Rows as they are held, or the first `columns` of them.
    Held held(Index row, Index count) const { return held(row, count, width_); }
    Held held(Index row, Index count, Index columns) const { return all().held(row, count, columns); }

private:
    Stored* at(Index row) { return numbers_.data() + row * width_; }

    Index width_ = 0;
    ColumnVector<Stored> numbers_;
    ColumnVector<float> factors_;
};

}  // namespace attend::detail

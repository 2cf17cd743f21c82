#pragma once
/// \file
/// Tiles of operand rows as the micro-kernel reads them.

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <attend/core/all_finite.hpp>
#include <attend/core/operand_rows.hpp>
#include <attend/core/repeat.hpp>
#include <attend/core/stored.hpp>
#include <attend/engine/packets.hpp>
#include <attend/source/source.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Whether rows hold neither NaN nor infinity, as they are held.
template <class T, class Rows>
bool held_are_finite(const Rows& x) {
    if constexpr (HasFactors<Rows>) {
        for (Index i = 0; i < x.rows; ++i) {
            if (!std::isfinite(x.factors[i])) return false;
        }
    }
    if constexpr (std::is_integral_v<typename Rows::Scalar>) return true;
    return all_finite_narrow<T>(x.rows, x.columns, [&](Index i) { return numbers_of(x.row(i)); });
}

/// A tile of operand rows as the micro-kernel reads it: in place where that is fast, otherwise through a copy in
/// `scratch`.
template <class T, class Rows>
StridedMatrix<T> readable(const Rows& rows, T* scratch, Reading reading) {
    if constexpr (std::is_same_v<T, typename Rows::Scalar>) {
        if (rows.innerStride() == 1) return {rows.data(), rows.outerStride(), 1};
        if (rows.outerStride() == 1 && reading != Reading::row_by_row) {  // column-major: a copy stays so
            // Columns whole pages apart have one place in the cache for all, which matters where a block's lanes take
            // several micro-tiles, each of which reads them again.
            constexpr Index page = 4096 / sizeof(T);
            constexpr bool again = Registers<T>::vectors * simd::width<T> < 32;
            if (!again || rows.innerStride() % page != 0) return {rows.data(), 1, rows.innerStride()};
            Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>> copy(scratch, rows.rows(), rows.cols());
            for (Index a = 0; a < rows.cols(); ++a) {
                copy.col(a) = Eigen::Map<const ColumnVector<T>>(rows.data() + a * rows.innerStride(), rows.rows());
            }
            return {scratch, 1, rows.rows()};
        }
    }
    copy_rows(rows, T(1), scratch, rows.cols());
    return {scratch, rows.cols(), 1};
}

}  // namespace attend::detail

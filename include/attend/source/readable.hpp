#pragma once
/// \file
/// Tiles of operand rows as the micro-kernel reads them.

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <attend/core/operand_rows.hpp>
#include <attend/core/repeat.hpp>
#include <attend/core/stored.hpp>
#include <attend/engine/packets.hpp>
#include <attend/source/source.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Whether a readable tile holds neither NaN nor infinity: those times 0 are not 0.
template <class T>
bool all_finite(const StridedMatrix<T>& x, Index rows, Index columns) {
    constexpr Index w = simd::width<T>;
    const bool down = x.depth_stride != 1;
    const Index stride = down ? x.depth_stride : x.row_stride, runs = down ? columns : rows;
    const Index length = down ? rows : columns;
    simd::Packet<T> sums[4];  // several, so that none waits for the one before
    for (auto& sum : sums) sum = simd::broadcast(T(0));
    T rest(0);
    for (Index i = 0; i < runs; ++i) {
        const T* const run = x.data + i * stride;
        Index a = 0;
        for (; a + 4 * w <= length; a += 4 * w) {
            repeat<4>([&](auto part) ATTEND_ALWAYS_INLINE {
                sums[part] = simd::madd(simd::load(run + a + part * w), simd::broadcast(T(0)), sums[part]);
            });
        }
        for (; a + w <= length; a += w) sums[0] = simd::madd(simd::load(run + a), simd::broadcast(T(0)), sums[0]);
        for (; a < length; ++a) rest += run[a] * T(0);
    }
    const auto sum = simd::add(simd::add(sums[0], sums[1]), simd::add(sums[2], sums[3]));
    return simd::sum<T>(sum) + rest == T(0);
}

/// The same of rows as they are held.
template <class T, class Rows>
bool held_are_finite(const Rows& x) {
    constexpr Index w = simd::width<T>;
    if constexpr (HasFactors<Rows>) {
        for (Index i = 0; i < x.rows; ++i) {
            if (!std::isfinite(x.factors[i])) return false;
        }
    }
    if constexpr (std::is_integral_v<typename Rows::Scalar>) return true;
    auto sum = simd::broadcast(T(0));
    for (Index i = 0; i < x.rows; ++i) {
        for (Index a = 0; a < x.columns; a += w)
            sum = simd::madd(simd::load_as<T>(numbers_of(x.row(i)) + a, std::min(w, x.columns - a)),
                             simd::broadcast(T(0)), sum);
    }
    return simd::sum<T>(sum) == T(0);
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

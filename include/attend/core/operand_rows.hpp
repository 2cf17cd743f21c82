#pragma once
/// \file
/// Rows of operands, copied and added to, whatever their storage order.

#include <algorithm>
#include <type_traits>

#include <attend/core/row_lanes.hpp>
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
            lanes_to_rows<T, T>(rows.data(), rows.innerStride(), 0, nullptr, rows.rows(), rows.cols(), to, stride, 1);
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

/// rows(i, a) += factor · from[i · stride + a]
template <class T, class Rows>
void add_rows(const T* from, Index stride, T factor, Rows&& rows) {
    using X = typename std::remove_cvref_t<Rows>::Scalar;
    const Index height = rows.rows(), width = rows.cols();
    if constexpr (std::is_same_v<T, X>) {
        if (is_column_major<T>(rows)) {
            constexpr Index w = simd::width<T>;
            const auto f = simd::broadcast(factor);
            for (Index i = 0; i < height; i += w) {
                const Index here = std::min(w, height - i);
                for (Index a = 0; a < width; a += w) {
                    const Index wide = std::min(w, width - a);
                    simd::Packet<T> block[w];
                    for (Index r = 0; r < w; ++r)
                        block[r] = simd::load<T>(from + (i + std::min(r, here - 1)) * stride + a, wide, T(0));
                    simd::transpose<T>(block);
                    T* const to = rows.data() + a * rows.innerStride() + i;
                    for (Index c = 0; c < wide; ++c) {
                        T* const column = to + c * rows.innerStride();
                        simd::store<T>(column, simd::madd(f, block[c], simd::load<T>(column, here, T(0))), here);
                    }
                }
            }
            return;
        }
    }
    const Eigen::Map<const RowMatrix<T>, Eigen::Unaligned, Eigen::OuterStride<>> added(from, height, width,
                                                                                       Eigen::OuterStride<>(stride));
    rows += (added * factor).template cast<X>();
}

}  // namespace attend::detail

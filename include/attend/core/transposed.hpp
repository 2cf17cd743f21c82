#pragma once
/// \file
/// Contiguous rows added to columns, as a bias n_q × n_kv comes to scores whose lanes are queries, and their gradient
/// to the bias's.

#include <algorithm>

#include <attend/core/simd.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// to[c · to_stride + r] += from[r · from_stride + c] for `rows` rows of `columns` columns.
template <class T>
void add_transposed(const T* from, Index from_stride, Index rows, Index columns, T* to, Index to_stride) {
    constexpr Index w = simd::width<T>;
    for (Index i = 0; i < rows; i += w) {
        const Index tall = std::min(w, rows - i);
        for (Index a = 0; a < columns; a += w) {
            const Index wide = std::min(w, columns - a);
            simd::Packet<T> block[w];
            for (Index r = 0; r < w; ++r)
                block[r] = simd::load(from + (i + std::min(r, tall - 1)) * from_stride + a, wide, T(0));
            simd::transpose<T>(block);
            for (Index c = 0; c < wide; ++c) {
                T* const row = to + (a + c) * to_stride + i;
                simd::store<T>(row, simd::add(simd::load(row, tall, T(0)), block[c]), tall);
            }
        }
    }
}

}  // namespace attend::detail

#pragma once
/// \file
/// Contiguous rows added to columns, as a bias n_q × n_kv comes to scores whose lanes are queries, and
/// their gradient to the bias's.

#include <algorithm>

#include <attend/core/simd.hpp>

namespace attend::detail {

/// to[c · lanes + r] += from[r · stride + c] for `rows` rows, at most a packet, and `columns` columns.
template <class T>
void add_transposed(const T* from, Index stride, Index rows, Index columns, T* to, Index lanes) {
    constexpr Index w = simd::width<T>;
    for (Index a = 0; a < columns; a += w) {
        const Index wide = std::min(w, columns - a);
        simd::Packet<T> block[w];
        for (Index r = 0; r < w; ++r) block[r] = simd::load(from + std::min(r, rows - 1) * stride + a, wide, T(0));
        simd::transpose<T>(block);
        for (Index c = 0; c < wide; ++c) {
            T* const s = to + (a + c) * lanes;
            simd::store<T>(s, simd::add(simd::load(s, rows, T(0)), block[c]), rows);
        }
    }
}

/// The way back: to[r · stride + c] += from[c · lanes + r].
template <class T>
void add_transposed_back(const T* from, Index lanes, Index rows, Index columns, T* to, Index stride) {
    constexpr Index w = simd::width<T>;
    for (Index a = 0; a < columns; a += w) {
        const Index wide = std::min(w, columns - a);
        simd::Packet<T> block[w];
        for (Index c = 0; c < w; ++c) block[c] = simd::load(from + (a + std::min(c, wide - 1)) * lanes, rows, T(0));
        simd::transpose<T>(block);
        for (Index r = 0; r < rows; ++r) {
            T* const row = to + r * stride + a;
            simd::store<T>(row, simd::add(simd::load(row, wide, T(0)), block[r]), wide);
        }
    }
}

}  // namespace attend::detail

#pragma once
/// \file
/// Rows that become columns, a packet's square at a time.

#include <algorithm>

#include <attend/core/simd.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// to[c · to_stride + r] = from[r · from_stride + c] for `rows` rows of `columns` columns; if `adds`, it is added,
/// times `factor`.
template <bool adds, class T>
void write_transposed(const T* from, Index from_stride, Index rows, Index columns, T* to, Index to_stride,
                      T factor = T(1)) {
    constexpr Index w = simd::width<T>, few = w * w / 2;  // go one by one, for less than it takes to transpose a square
    [[maybe_unused]] const auto f = simd::broadcast(factor);
    for (Index i = 0; i < rows; i += w) {
        const Index tall = std::min(w, rows - i);
        for (Index a = 0; a < columns; a += w) {
            const Index wide = std::min(w, columns - a);
            if (tall * wide <= few) {
                for (Index r = 0; r < tall; ++r) {
                    for (Index c = 0; c < wide; ++c) {
                        T& entry = to[(a + c) * to_stride + i + r];
                        const T value = from[(i + r) * from_stride + a + c];
                        if constexpr (adds) {
                            entry = simd::first<T>(simd::madd(f, simd::broadcast(value), simd::broadcast(entry)));
                        } else {
                            entry = value;
                        }
                    }
                }
                continue;
            }
            simd::Packet<T> block[w];
            for (Index r = 0; r < w; ++r)
                block[r] = simd::load(from + (i + std::min(r, tall - 1)) * from_stride + a, wide, T(0));
            simd::transpose<T>(block);
            for (Index c = 0; c < wide; ++c) {
                T* const row = to + (a + c) * to_stride + i;
                if constexpr (adds) block[c] = simd::madd(f, block[c], simd::load(row, tall, T(0)));
                simd::store<T>(row, block[c], tall);
            }
        }
    }
}
template <class T>
void transpose_into(const T* from, Index from_stride, Index rows, Index columns, T* to, Index to_stride) {
    write_transposed<false>(from, from_stride, rows, columns, to, to_stride);
}
template <class T>
void add_transposed(const T* from, Index from_stride, Index rows, Index columns, T* to, Index to_stride,
                    T factor = T(1)) {
    write_transposed<true>(from, from_stride, rows, columns, to, to_stride, factor);
}

}  // namespace attend::detail

#pragma once
/// \file
/// Rows into lanes and back.

#include <algorithm>

#include <attend/core/stored.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// So few of a packet's lanes go one by one, for less than it takes to transpose the packet.
template <class T>
inline constexpr Index few_of_lanes = simd::width<T> / 4;

/// Transposes contiguous rows into lanes: lane i of column a, at to[a · lanes + i], is factor · from[i · stride + a].
/// Lanes behind the rows become 0.
template <class T>
void rows_to_lanes(const T* from, Index stride, Index rows, Index columns, T factor, T* to, Index lanes) {
    constexpr Index w = simd::width<T>;
    const auto zero = simd::broadcast(T(0)), f = simd::broadcast(factor);
    for (Index i = 0; i < lanes; i += w) {
        const Index here = std::clamp<Index>(rows - i, 0, w);
        if (here <= few_of_lanes<T>) {
            for (Index a = 0; a < columns; ++a) {
                simd::store(to + a * lanes + i, zero);
                for (Index r = 0; r < here; ++r) to[a * lanes + i + r] = factor * from[(i + r) * stride + a];
            }
            continue;
        }
        for (Index a = 0; a < columns; a += w) {
            const Index wide = std::min(w, columns - a);
            simd::Packet<T> block[w];
            for (Index r = 0; r < w; ++r)
                block[r] = r < here ? simd::mul(f, simd::load(from + (i + r) * stride + a, wide, T(0))) : zero;
            simd::transpose<T>(block);
            for (Index r = 0; r < wide; ++r) simd::store(to + (a + r) * lanes + i, block[r]);
        }
    }
}

/// to[a · stride] = factor · from[a] for `columns` of them.
template <class T, class X>
void scale_row(const T* from, Index columns, T factor, X* to, Index stride) {
    if constexpr (std::is_same_v<T, X>) {
        if (stride == 1) {
            constexpr Index w = simd::width<T>;
            const auto f = simd::broadcast(factor);
            Index a = 0;
            for (; a + w <= columns; a += w) simd::store(to + a, simd::mul(f, simd::load(from + a)));
            if (const Index rest = columns - a; rest > 0)
                simd::store<T>(to + a, simd::mul(f, simd::load(from + a, rest, T(0))), rest);
            return;
        }
    } else if (stride == 1) {
        const auto f = simd::broadcast(factor);
        for (Index a = 0; a < columns; a += simd::width<T>) {
            const Index count = std::min(simd::width<T>, columns - a);
            simd::store_as<T>(to + a, simd::mul(f, simd::load(from + a, count, T(0))), count);
        }
        return;
    }
    for (Index a = 0; a < columns; ++a) to[a * stride] = static_cast<X>(factor * from[a]);
}

/// The way back: to(i, a) = from[a · lanes + first + i] · factor[first + i] for `rows` lanes, through `to`'s strides.
template <class T, class X>
void lanes_to_rows(const T* from, Index lanes, Index first, const T* factor, Index rows, Index columns, X* to,
                   Index row_stride, Index column_stride) {
    constexpr Index w = simd::width<T>;
    for (Index i = 0; i < rows; i += w) {
        const Index here = std::min(w, rows - i);
        if (here <= few_of_lanes<T>) {
            for (Index a = 0; a < columns; ++a) {
                for (Index r = i; r < rows; ++r)
                    to[r * row_stride + a * column_stride] =
                        static_cast<X>(factor[first + r] * from[a * lanes + first + r]);
            }
            return;
        }
        const auto f = simd::load<T>(factor + first + i, here, T(0));
        for (Index a = 0; a < columns; a += w) {
            const Index wide = std::min(w, columns - a);
            simd::Packet<T> block[w];
            for (Index r = 0; r < w; ++r)
                block[r] =
                    simd::mul(f, simd::load<T>(from + (a + std::min(r, wide - 1)) * lanes + first + i, here, T(0)));
            if constexpr (std::is_same_v<T, X>) {
                if (row_stride == 1) {  // column-major: lanes are contiguous already
                    for (Index r = 0; r < wide; ++r) simd::store<T>(to + (a + r) * column_stride + i, block[r], here);
                    continue;
                }
            }
            simd::transpose<T>(block);
            for (Index r = 0; r < here; ++r) {
                X* const row = to + (i + r) * row_stride + a * column_stride;
                if (column_stride == 1) {
                    simd::store_as<T>(row, block[r], wide);
                    continue;
                }
                T values[w];
                simd::store(values, block[r]);
                for (Index c = 0; c < wide; ++c) row[c * column_stride] = static_cast<X>(values[c]);
            }
        }
    }
}

}  // namespace attend::detail

#pragma once
/// \file
/// Whether numbers are such.

#include <algorithm>
#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/core/simd.hpp>
#include <attend/core/stored.hpp>
#include <attend/core/tiles.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Whether a matrix one of whose strides is 1 holds neither NaN nor infinity: those times 0 are not 0.
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

/// The same of lines of numbers of fewer bits that follow each other: `line(i)` is where line i begins.
template <class T, class Line>
bool all_finite_narrow(Index lines, Index length, const Line& line) {
    auto sum = simd::broadcast(T(0));
    for (Index i = 0; i < lines; ++i) {
        const auto from = line(i);
        for (Index a = 0; a < length; a += simd::width<T>)
            sum = simd::madd(simd::load_as<T>(from + a, std::min(simd::width<T>, length - a)), simd::broadcast(T(0)),
                             sum);
    }
    return simd::sum<T>(sum) == T(0);
}

}  // namespace attend::detail

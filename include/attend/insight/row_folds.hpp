#pragma once
/// \file
/// What reductions make of a row of weights a packet at a time, whether queries or keys stand in its lanes.

#include <algorithm>
#include <limits>

#include <attend/core/insight.hpp>
#include <attend/core/simd.hpp>

namespace attend::inline ATTEND_ABI::detail {

template <class T>
struct SumOfRow {
    static constexpr T none = 0;
    static simd::Packet<T> join(const simd::Packet<T>& a, const simd::Packet<T>& b) { return simd::add(a, b); }
    static T across(const simd::Packet<T>& x) { return simd::sum<T>(x); }
};
/// NaN where one is met.
template <class T>
struct LargestOfRow {
    static constexpr T none = -std::numeric_limits<T>::infinity();
    static simd::Packet<T> join(const simd::Packet<T>& a, const simd::Packet<T>& b) {
        return simd::select_equal(b, b, simd::max(a, b), b);
    }
    static T across(const simd::Packet<T>& x) {
        T lanes[simd::width<T>];
        simd::store(lanes, x);
        T most = none;
        for (const T lane : lanes) most = most >= lane || most != most ? most : lane;
        return most;
    }
};

/// Calls `visit(i, count)` for packets of a tile's rows, which stand in lanes.
template <class T, class F>
ATTEND_ALWAYS_INLINE inline void for_each_lanes(Index count, F&& visit) {
    for (Index i = 0; i < count; i += simd::width<T>) visit(i, std::min(simd::width<T>, count - i));
}

/// to[i] = join(to[i], f(x) of all keys of the tile), where x are row i's values at from[i · row_stride + j ·
/// key_stride], times its factor where there are factors. The sum of a tile is formed apart, so that what is added to
/// many of them rounds little.
template <class Join, class T, class F>
ATTEND_ALWAYS_INLINE inline void fold_rows(const WeightsTile<T>& tile, const T* from, const T* factors, T* to, F&& f) {
    const auto none = simd::broadcast(Join::none);
    const auto fold_lanes = [&](const auto& load, Index i, Index count) ATTEND_ALWAYS_INLINE {
        const auto factor = factors == nullptr ? simd::broadcast(T(1)) : simd::load(factors + i, count, T(0));
        auto all = none;
        for (Index j = 0; j < tile.keys; ++j) all = f(all, load(from + i + j * tile.key_stride), factor);
        simd::store<T>(to + i, Join::join(simd::load(to + i, count, T(0)), all), count);
    };
    if (tile.row_stride == 1) {
        for_each_lanes<T>(tile.rows, [&](Index i, Index count) ATTEND_ALWAYS_INLINE {
            if (count == simd::width<T>) {
                fold_lanes([](const T* at) ATTEND_ALWAYS_INLINE { return simd::load(at); }, i, count);
            } else {
                fold_lanes([&](const T* at) ATTEND_ALWAYS_INLINE { return simd::load(at, count, T(0)); }, i, count);
            }
        });
        return;
    }
    for (Index i = 0; i < tile.rows; ++i) {
        const auto factor = simd::broadcast(factors == nullptr ? T(1) : factors[i]);
        auto all = none;
        for_each_lanes<T>(tile.keys, [&](Index j, Index count) ATTEND_ALWAYS_INLINE {
            all = f(all, simd::load(from + i * tile.row_stride + j, count, Join::none), factor);
        });
        to[i] = simd::first<T>(Join::join(simd::broadcast(to[i]), simd::broadcast(Join::across(all))));
    }
}

}  // namespace attend::detail

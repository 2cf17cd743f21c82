#pragma once
/// \file
/// What a worker holds of one block of queries, and how a tile of scores becomes weights there.

#include <algorithm>
#include <limits>

#include <attend/core/workspace.hpp>
#include <attend/kernel/block_scores.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The scratch of one block of lanes.
template <class T>
struct Scratch {
    Index tile;  ///< keys of a tile
    ScoreScratch<T> scores;
    T* s;  ///< tile × lanes, or all keys × lanes: scores, then weights; of a few queries tile × lanes at most
    T* o;  ///< d_v × lanes; of a few queries row by row
    T *largest, *next, *sum,
        *factor;  ///< lanes: the maximum so far and with the current tile, the sum, what rescales it and o
    T* v;         ///< a tile of values, where they are not read in place
    T* row;       ///< one row of scores, for normalizers that need it whole
    std::byte *packed_weights, *packed_v;  ///< of a tile of weights and of values, where the engine packs

    Scratch(Arena& arena, const Shape& shape, Index lanes, Index width, bool whole_rows, bool exponentials,
            const PackedMemory& packing)
        : tile(tile_of<T>(shape.keys)),
          scores(arena, lanes, tile, width, width, exponentials, packing),
          s(arena.take<T>(lanes * (whole_rows ? shape.keys : tile))),
          o(arena.take<T>(lanes * shape.d_v)),
          largest(arena.take<T>(lanes)),
          next(arena.take<T>(lanes)),
          sum(arena.take<T>(lanes)),
          factor(arena.take<T>(lanes)),
          v(arena.take<T>(tile * shape.d_v)),
          row(arena.take<T>(whole_rows ? shape.keys : 0)),
          packed_weights(packing.take(arena, lanes, tile)),
          packed_v(packing.take(arena, shape.d_v, tile)) {}

    /// That of another block of lanes with the same keys, which shares what is of a tile.
    Scratch(Arena& arena, const Scratch& first, const Shape& shape, Index lanes, Index width) : Scratch(first) {
        scores = ScoreScratch<T>(arena, first.scores, lanes, width);
        o = arena.take<T>(lanes * shape.d_v);
        largest = arena.take<T>(lanes);
        sum = arena.take<T>(lanes);
    }
};

/// The lanes of a row of the scratch, without a call to the library of C, which costs more than the few packets: out of
/// line, since a value that is known to be 0 would become one.
template <class T>
ATTEND_NOINLINE void set_lanes(T* to, Index lanes, T value) {
    for (Index i = 0; i < lanes; i += simd::width<T>) simd::store(to + i, simd::broadcast(value));
}
template <class T>
void copy_lanes(const T* from, Index lanes, T* to) {
    for (Index i = 0; i < lanes; i += simd::width<T>) simd::store(to + i, simd::load(from + i));
}

/// Of each packet of lanes: rescales the sum to the new maximum m and adds what `f(s, m)` makes of the tile's scores,
/// of which s is the first key's; `factor` is left to rescale the output by. The maximum starts at the lowest finite
/// number instead of −∞, so that a lane which has seen no key needs no branch.
template <class T, class F>
void update_sums(const Scratch<T>& z, Index keys, Index lanes, F&& f) {
    constexpr Index w = simd::width<T>;
    constexpr T most = std::numeric_limits<T>::max();
    for (Index i = 0; i < lanes; i += w) {
        T* const s = z.s + i;
        auto m = simd::load(z.next + i);
        const auto bound = simd::broadcast(most);
        // Counted, since the largest of lanes of which one is NaN may be that or not.
        const auto above = simd::select(simd::less(bound, m), simd::broadcast(T(1)), simd::broadcast(T(0)));
        if (simd::sum<T>(above) > T(0)) [[unlikely]] {
            // ∞ − ∞ is NaN, but the largest finite number less itself is 0: what is +∞ shares all weight.
            for (Index j = 0; j < keys; ++j) simd::store(s + j * lanes, simd::min(simd::load(s + j * lanes), bound));
            m = simd::min(m, bound);
        }
        const auto rescale = exp_of_nonpositive<T>(simd::sub(simd::load(z.largest + i), m));
        const auto l = f(s, m);
        simd::store(z.factor + i, rescale);
        simd::store(z.sum + i, simd::madd(simd::load(z.sum + i), rescale, l));
        simd::store(z.largest + i, m);
    }
}

/// Scores into weights relative to the new maximum, to which the sum and, by `factor`, the output are rescaled.
template <class T>
void weigh_tile(const Scratch<T>& z, Index keys, Index lanes) {
    update_sums(z, keys, lanes, [&](T* s, const simd::Packet<T>& m) ATTEND_ALWAYS_INLINE {
        auto l = simd::broadcast(T(0));
        for (Index j = 0; j < keys; ++j, s += lanes) {
            const auto p = exp_of_nonpositive<T>(simd::sub(simd::load(s), m));
            simd::store(s, p);
            l = simd::add(l, p);
        }
        return l;
    });
}
/// The same with the weights packed as well, by an engine that packs what is made meanwhile.
template <class T, class E>
void weigh_and_pack_tile(const E& engine, const Scratch<T>& z, Index keys, Index lanes) {
    update_sums(z, keys, lanes, [&](T* s, const simd::Packet<T>& m) ATTEND_ALWAYS_INLINE {
        const auto weight = [&](Index key) ATTEND_ALWAYS_INLINE {
            const auto p = exp_of_nonpositive<T>(simd::sub(simd::load(s + key * lanes), m));
            simd::store(s + key * lanes, p);
            return p;
        };
        return engine.pack_made(keys, s - z.s, weight, z.packed_weights);
    });
}
/// The same without the weights, for an LSE that nobody else needs.
template <class T>
void add_to_sums(const Scratch<T>& z, Index keys, Index lanes) {
    update_sums(z, keys, lanes, [&](const T* s, const simd::Packet<T>& m) ATTEND_ALWAYS_INLINE {
        auto l = simd::broadcast(T(0));
        for (Index j = 0; j < keys; ++j, s += lanes)
            l = simd::add(l, exp_of_nonpositive<T>(simd::sub(simd::load(s), m)));
        return l;
    });
}

/// The same of one query, whose scores follow each other: lanes are keys here. Whole packets are written: a load of
/// what was written through a mask would wait for the cache.
template <class T>
void weigh_row(T* s, Index keys, T& largest, T& sum, T& factor) {
    constexpr Index w = simd::width<T>;
    constexpr T most = std::numeric_limits<T>::max();
    const auto each = [&](auto&& f) ATTEND_ALWAYS_INLINE {
        Index j = 0;
        for (; j + w <= keys; j += w) f(s + j, w);
        if (j < keys) f(s + j, keys - j);
    };
    auto lane_m = simd::broadcast(largest);
    each([&](T* at, Index n)
             ATTEND_ALWAYS_INLINE { lane_m = simd::max(lane_m, simd::load(at, n, std::numeric_limits<T>::lowest())); });
    T top = simd::largest<T>(lane_m);
    if (top > most) [[unlikely]] {
        each([&](T* at, Index n)
                 ATTEND_ALWAYS_INLINE { simd::store(at, simd::min(simd::load(at, n, T(0)), simd::broadcast(most))); });
        top = most;
    }
    const auto m = simd::broadcast(top);
    const T rescale = simd::first<T>(exp_of_nonpositive<T>(simd::sub(simd::broadcast(largest), m)));
    auto l = simd::broadcast(T(0));
    each([&](T* at, Index n) ATTEND_ALWAYS_INLINE {
        const auto p = exp_of_nonpositive<T>(simd::sub(simd::load(at, n, -std::numeric_limits<T>::infinity()), m));
        simd::store(at, p);
        l = simd::add(l, p);
    });
    sum = sum * rescale + simd::sum<T>(l);
    factor = rescale;
    largest = top;
}
/// The same of `count` queries.
template <class T>
void weigh_rows(const Scratch<T>& z, Index keys, Index count, const ScoreStrides& apart) {
    for (Index i = 0; i < count; ++i) {
        T* const s = z.s + i * apart.query;
        if (apart.key == 1) {
            weigh_row(s, keys, z.largest[i], z.sum[i], z.factor[i]);
            continue;
        }
        T row[key_block];
        for (Index j = 0; j < keys; ++j) row[j] = s[j * apart.key];
        weigh_row(row, keys, z.largest[i], z.sum[i], z.factor[i]);
        for (Index j = 0; j < keys; ++j) s[j * apart.key] = row[j];
    }
}

}  // namespace attend::detail::fused

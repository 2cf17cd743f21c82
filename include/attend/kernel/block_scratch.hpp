#pragma once
/// \file
/// What a worker holds of one block of queries, and how a tile of scores becomes weights there.

#include <algorithm>
#include <limits>

#include <attend/core/workspace.hpp>
#include <attend/kernel/block_scores.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::detail::fused {

/// The scratch of one block of lanes.
template <class T>
struct Scratch {
    ScoreScratch<T> scores;
    T* s;  ///< key_block × lanes, or all keys × lanes: scores, then weights
    T* o;  ///< d_v × lanes; of a few queries row by row
    T *largest, *next, *sum,
        *factor;  ///< lanes: the maximum so far and with the current tile, the sum, what rescales it and o
    T* v;         ///< a tile of values, where they are not read in place
    T* row;       ///< one row of scores, for normalizers that need it whole

    Scratch(Arena& arena, const Shape& shape, Index lanes, Index width, bool whole_rows, bool exponentials)
        : scores(arena, lanes, width, width, exponentials),
          s(arena.take<T>(lanes * (whole_rows ? shape.keys : key_block))),
          o(arena.take<T>(lanes * shape.d_v)),
          largest(arena.take<T>(lanes)),
          next(arena.take<T>(lanes)),
          sum(arena.take<T>(lanes)),
          factor(arena.take<T>(lanes)),
          v(arena.take<T>(key_block * shape.d_v)),
          row(arena.take<T>(whole_rows ? shape.keys : 0)) {}
};

/// What is left of a block after some of the keys.
template <class T>
struct Partial {
    T *largest, *sum, *o;

    Partial(Arena& arena, const Shape& shape, Index lanes)
        : largest(arena.take<T>(lanes)), sum(arena.take<T>(lanes)), o(arena.take<T>(lanes * shape.d_v)) {}
};

/// Of each packet of lanes: rescales the sum to the new maximum m and adds what `f(s, m)` makes of the tile's scores,
/// of which s is the first key's; `factor` is left to rescale the output by. The maximum starts at the lowest finite
/// number instead of −∞, so that a lane which has seen no key needs no branch.
template <class T, class F>
void update_sums(const Scratch<T>& z, Index keys, Index lanes, F&& f) {
    constexpr Index w = simd::width<T>;
    constexpr T most = std::numeric_limits<T>::max();
    for (Index i = 0; i < lanes; i += w) {
        T* const s = z.s + i;
        if (std::any_of(z.next + i, z.next + i + w, [](T m) { return m > most; })) [[unlikely]] {
            // ∞ − ∞ is NaN, but the largest finite number less itself is 0: what is +∞ shares all weight.
            const auto bound = simd::broadcast(most);
            for (Index j = 0; j < keys; ++j) simd::store(s + j * lanes, simd::min(simd::load(s + j * lanes), bound));
            simd::store(z.next + i, simd::min(simd::load(z.next + i), bound));
        }
        const auto m = simd::load(z.next + i);
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

}  // namespace attend::detail::fused

#pragma once
/// \file
/// Products into final scores: what modifiers make of them, where the mask shows them.

#include <algorithm>
#include <limits>
#include <tuple>

#include <attend/core/concepts.hpp>
#include <attend/core/lanes.hpp>
#include <attend/parts/modifiers.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Calls `f(mask)`: once for what is asked of a mask for many packets, so that one that is chosen when a program runs
/// may show itself as what it is, by `with(f)`.
template <class M, class F>
ATTEND_ALWAYS_INLINE inline void with_mask(const M& mask, F&& f) {
    if constexpr (requires { mask.with(f); }) {
        mask.with(f);
    } else {
        f(mask);
    }
}

/// Scores that the mask hides become −∞; returns whether it hides any. Asks for all of a packet first, as on the edge
/// of a causal tile one in four is cut; where queries beside each other see few keys and others each, nearly all are.
template <class T, class M, PackPosition P>
ATTEND_ALWAYS_INLINE inline bool hide(const M& mask, simd::Packet<T>& s, const P& p) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    const Cover cover = !ListsKeys<M> && are_tile(p) ? cover_of(mask, tile_of_pairs(p)) : Cover::some;
    const auto hidden = simd::broadcast(-infinity);
    if (cover == Cover::all) return false;
    if (cover == Cover::none) {
        s = hidden;
        return true;
    }
    if constexpr (LaneWiseMask<M, P>) {
        s = simd::select(mask(p).packet, s, hidden);
    } else {
        // Compilers make packets of this, where the predicate lets them.
        T scores[simd::width<T>];
        simd::store(scores, s);
        const Index count = pairs_of(p);
        ATTEND_ROLLED
        for (Index i = 0; i < count; ++i) scores[i] = mask(scalar_position(p, i)) ? scores[i] : -infinity;
        s = simd::load(scores);
    }
    return true;
}

/// The same, out of line: for what is asked too seldom to have the code of each mask in every loop.
template <class T, class M, PackPosition P>
ATTEND_NOINLINE bool hide_by_call(const M& mask, simd::Packet<T>& s, const P& p) {
    bool any = false;
    with_mask(mask, [&](const auto& chosen) { any = hide<T>(chosen, s, p); });
    return any;
}

/// The products of one query, from the key at `p` on, into final scores. Whole packets are written.
template <class T, class Each, class M>
void finish_row(const Each& modifiers, const M& mask, const Position& p, Index keys, Cover cover, T* row) {
    constexpr Index w = simd::width<T>;
    KeyLanePosition<T> at{p.query, {p.key, 1, w}, p.row, p.head, p.kv_head, p.sequence};
    for (Index j = 0; j < keys; j += w, at.key.first += w) {
        at.key.count = std::min(w, keys - j);
        auto x = Lanes<T>::of(simd::load(row + j, at.key.count, T(0)));
        if constexpr (std::tuple_size_v<Each> > 0) x = on_lanes(modifiers, x, at);
        if (cover == Cover::some) hide_by_call<T>(mask, x.packet, at);
        simd::store(row + j, x.packet);
    }
}
template <class T, class A>
void finish_row(const A& attention, const Position& p, Index keys, Cover cover, T* row) {
    with_modifiers(attention.modifiers,
                   [&](const auto& each) { finish_row<T>(each, attention.mask, p, keys, cover, row); });
}

}  // namespace attend::detail

#pragma once
/// \file
/// Modifiers on packs of lanes.

#include <tuple>

#include <attend/core/lanes.hpp>

namespace attend::detail {

/// A modifier that changes the scores of a packet of queries and many keys at once.
template <class M, class T>
concept TileModifier = requires(const M& m, T* s, Index i, const LanePosition<T>& p) { m.on_tile(s, i, i, p); };
template <class Chain, class T>
inline constexpr bool any_tile_modifier = false;
template <class... Ms, class T>
inline constexpr bool any_tile_modifier<std::tuple<Ms...>, T> = (TileModifier<Ms, T> || ...);

/// m(s, p) of a packet of queries. A modifier that takes only scalars is asked lane by lane.
template <class T, class M>
Lanes<T> on_lanes(const M& m, const Lanes<T>& s, const LanePosition<T>& p) {
    if constexpr (requires { Lanes<T>(m(s, p)); }) {
        return Lanes<T>(m(s, p));
    } else {
        T lanes[simd::width<T>];
        simd::store(lanes, s.packet);
        for (Index i = 0; i < p.query.count; ++i) {
            lanes[i] = static_cast<T>(
                m(lanes[i], Position{p.query.first + i, p.key, p.row.first + i, p.head, p.kv_head, p.sequence}));
        }
        return Lanes<T>::of(simd::load(lanes));
    }
}
template <class T, class... Ms>
Lanes<T> on_lanes(const std::tuple<Ms...>& modifiers, Lanes<T> s, const LanePosition<T>& p) {
    std::apply([&](const auto&... m) { ((s = on_lanes(m, s, p)), ...); }, modifiers);
    return s;
}

}  // namespace attend::detail

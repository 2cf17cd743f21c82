#pragma once
/// \file
/// The gradients of a chain of modifiers, tile by tile.

#include <cstddef>
#include <tuple>
#include <utility>

#include <attend/call/block_rows.hpp>
#include <attend/parts/modifiers.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The keys of a tile, and which lanes see them.
struct TileRange {
    Index begin, count;
    LaneRange lanes;
};

/// Calls `f(m, gradient, tile)` for each modifier of whole tiles; `tile` counts them.
template <class T, class... Ms, class F>
void for_each_tile_modifier(const std::tuple<Ms...>& modifiers, std::tuple<Ms...>& gradient, F&& f) {
    const auto one = [&]<std::size_t i>(std::integral_constant<std::size_t, i>) {
        using Chain = std::tuple<Ms...>;
        if constexpr (TileModifier<std::tuple_element_t<i, Chain>, T>)
            f(std::get<i>(modifiers), std::get<i>(gradient), static_cast<Index>(tile_modifiers<Chain, T>(i)));
    };
    [&]<std::size_t... i>(std::index_sequence<i...>) {
        (one(std::integral_constant<std::size_t, i>()), ...);
    }(std::index_sequence_for<Ms...>());
}

/// ds, the gradients of the final scores of a tile, into those of the `raw` ones that came in, key after key; and the
/// gradients of the modifiers' parameters, where they are wanted. `kept` has room for a tile for each modifier of whole
/// tiles: for the gradients of what it made.
template <class T, class X, class... Ms>
void modifiers_backward(const std::tuple<Ms...>& modifiers, const BlockRows<T, X>& rows, const TileRange& tile,
                        const T* raw, T* ds, T* kept, std::tuple<Ms...>* gradient) {
    const Index lanes = rows.lanes;
    for (Index j = 0; j < tile.count; ++j, raw += lanes) {
        rows.for_each_packet(tile.begin + j, tile.lanes, [&](Index lane, const LanePosition<T>& p) {
            const Index count = p.query.count;
            T* const at = ds + j * lanes + lane;
            const auto s = Lanes<T>::of(simd::load(raw + lane, count, T(0)));
            const auto ds_out = Lanes<T>::of(simd::load(at, count, T(0)));
            const auto keep = [&]<std::size_t i>(std::integral_constant<std::size_t, i>, const Lanes<T>& d) {
                const auto which = static_cast<Index>(tile_modifiers<std::tuple<Ms...>, T>(i));
                simd::store<T>(kept + (which * key_block + j) * lanes + lane, d.packet, count);
            };
            const auto ds_in = backward_on_lanes(modifiers, s, p, ds_out, gradient, keep);
            simd::store<T>(at, ds_in.packet, count);
        });
    }
    if (gradient == nullptr) return;
    for_each_tile_modifier<T>(modifiers, *gradient, [&](const auto& m, auto& of_m, Index which) {
        rows.for_each_packet(tile.begin, tile.lanes, [&](Index lane, const LanePosition<T>& p) {
            m.backward_on_tile(kept + which * key_block * lanes + lane, lanes, tile.count, p, of_m);
        });
    });
}

}  // namespace attend::detail::fused

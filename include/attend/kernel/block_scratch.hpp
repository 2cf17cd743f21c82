#pragma once
/// \file
/// What a worker holds of one block of queries.

#include <algorithm>
#include <limits>

#include <attend/core/workspace.hpp>
#include <attend/kernel/block_scores.hpp>
#include <attend/kernel/row_states.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The scratch of one block of lanes.
template <class T>
struct Scratch {
    Index tile;  ///< keys of a tile
    ScoreScratch<T> scores;
    T* s;  ///< tile × lanes, or all keys × lanes: scores, then weights; of a few queries tile × lanes at most
    T* o;  ///< d_v × lanes; of a few queries row by row
    StateScratch<T> rows;
    T* v;                                  ///< a tile of values, where they are not read in place
    T* row;                                ///< one row of scores, for normalizers that need it whole
    std::byte *packed_weights, *packed_v;  ///< of a tile of weights and of values, where the engine packs

    Scratch(Arena& arena, const Needs& needs, const Shape& shape, Index lanes, const PackedMemory& packing)
        : tile(tile_of<T>(shape.keys)),
          scores(arena, lanes, tile, needs.width, needs.width, needs.exponentials, packing),
          s(arena.take<T>(lanes * (needs.whole_rows ? shape.keys : tile))),
          o(arena.take<T>(lanes * shape.d_v)),
          rows(arena, needs.state_members, lanes),
          v(arena.take<T>(tile * shape.d_v)),
          row(arena.take<T>(needs.whole_rows ? shape.keys : 0)),
          packed_weights(packing.take(arena, lanes, tile)),
          packed_v(packing.take(arena, shape.d_v, tile)) {}

    /// That of another block of lanes with the same keys, which shares what is of a tile.
    Scratch(Arena& arena, const Scratch& first, const Needs& needs, const Shape& shape, Index lanes) : Scratch(first) {
        scores = ScoreScratch<T>(arena, first.scores, lanes, needs.width);
        o = arena.take<T>(lanes * shape.d_v);
        rows.states = arena.take<T>(needs.state_members * lanes);
    }
};

}  // namespace attend::detail::fused

#pragma once
/// \file
/// What a worker holds of one block of queries, and what is left of it after some of the keys.

#include <algorithm>
#include <limits>

#include <attend/core/workspace.hpp>
#include <attend/kernel/block_scores.hpp>
#include <attend/parts/row_states.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The scratch of one block of lanes.
template <class T>
struct Scratch {
    Index tile;  ///< keys of a tile
    ScoreScratch<T> scores;
    Index row;  ///< of whole packets: the scores of a query that are kept, those of a tile or of all keys, where tiles
                ///< may begin anywhere
    T* s;       ///< row × lanes: scores, then weights; of a few queries row by row
    T* seen;    ///< as s, the scores of a tile, where they are looked at; none where they are not
    T* o;       ///< d_v × lanes; of a few queries row by row
    StateScratch<T> rows;
    T* v;                                  ///< a tile of values, where they are not read in place
    T* listed;                             ///< the same of values that are not finite, under a mask that lists keys
    T* one_row;                            ///< one row of scores, for normalizers that need it whole
    std::byte *packed_weights, *packed_v;  ///< of a tile of weights and of values, where the engine packs

    Scratch(Arena& arena, const Needs& needs, const Shape& shape, Index lanes, const PackedMemory& packing)
        : tile(tile_of<T>(shape.keys)),
          scores(arena, lanes, tile, needs.width, needs.width, needs.exponentials, packing),
          row(needs.whole_rows ? simd::padded<T>(shape.keys + simd::width<T>) : tile),
          s(arena.take<T>(lanes * row)),
          seen(needs.keeps_scores ? arena.take<T>(lanes * row) : nullptr),
          o(arena.take<T>(lanes * shape.d_v)),
          rows(arena, needs.state_members, lanes),
          v(arena.take<T>(tile * shape.d_v)),
          listed(arena.take<T>(needs.lists_keys ? tile * shape.d_v : 0)),
          one_row(arena.take<T>(needs.whole_rows ? shape.keys : 0)),
          packed_weights(packing.take(arena, lanes, tile)),
          packed_v(packing.take(arena, shape.d_v, tile)) {}

    /// That of another block of lanes with the same keys, which shares what is of a tile.
    Scratch(Arena& arena, const Scratch& first, const Needs& needs, const Shape& shape, Index lanes) : Scratch(first) {
        scores = ScoreScratch<T>(arena, first.scores, lanes, needs.width, needs.exponentials);
        o = arena.take<T>(lanes * shape.d_v);
        rows.states = arena.take<T>(needs.state_members * lanes);
    }
};

/// What a block's rows have seen, and their weighted values.
template <class T>
struct Partial {
    Index members;
    T *states, *o;

    Partial(Arena& arena, Index members_, const Shape& shape, Index lanes)
        : members(members_), states(arena.take<T>(members * lanes)), o(arena.take<T>(lanes * shape.d_v)) {}

    /// Copies what stands in the scratch, and back.
    void keep(const Scratch<T>& z, Index lanes, Index d_v) const {
        std::copy(z.rows.states, z.rows.states + members * lanes, states);
        std::copy(z.o, z.o + d_v * lanes, o);
    }
    void restore(const Scratch<T>& z, Index lanes, Index d_v) const {
        std::copy(states, states + members * lanes, z.rows.states);
        std::copy(o, o + d_v * lanes, z.o);
    }

    /// Adds the values to those in the scratch, d_v × lanes, by what merging the states left there.
    void add_to_lanes(const Scratch<T>& z, Index lanes, Index d_v) const {
        for (Index a = 0; a < d_v * lanes; a += lanes) {
            for (Index i = 0; i < lanes; ++i) z.o[a + i] = z.rows.factor[i] * z.o[a + i] + z.rows.largest[i] * o[a + i];
        }
    }
    /// The same of values that are row by row.
    void add_to_rows(const Scratch<T>& z, Index rows, Index d_v) const {
        for (Index i = 0; i < rows; ++i) {
            for (Index a = i * d_v; a < (i + 1) * d_v; ++a)
                z.o[a] = z.rows.factor[i] * z.o[a] + z.rows.largest[i] * o[a];
        }
    }
};

}  // namespace attend::detail::fused

#pragma once
/// \file
/// Masks of any type, and what a mask's cover of a tile should be, by looking at every pair.

#include <functional>

#include <attend/core/concepts.hpp>
#include <support/random.hpp>

namespace attend::test {

/// A mask of any type, so that masks can be chosen, and expressions of them drawn, at run time.
struct AnyMask {
    static constexpr Kind kind = Kind::mask;

    std::function<bool(const Position&)> keep;
    std::function<Cover(const Tile&)> covered;

    template <Mask M>
    static AnyMask of(const M& mask) {
        return {mask, [mask](const Tile& tile) { return cover_of(mask, tile); }};
    }
    /// The same without its cover.
    AnyMask pairs() const {
        return {keep, [](const Tile&) { return Cover::some; }};
    }
    bool operator()(const Position& p) const { return keep(p); }
    Cover cover(const Tile& tile) const { return covered(tile); }
};

template <Mask M>
Cover exact_cover(const M& mask, const Tile& tile) {
    Index kept = 0, all = 0;
    for (Index query = tile.query_begin; query < tile.query_end; ++query) {
        for (Index key = tile.key_begin; key < tile.key_end; ++key, ++all) {
            const Index row = tile.row_begin + query - tile.query_begin;
            kept += mask(Position{query, key, row, tile.head, tile.kv_head, tile.sequence}) ? 1 : 0;
        }
    }
    return kept == 0 ? Cover::none : kept == all ? Cover::all : Cover::some;
}

/// Up to 8 × 8 pairs, of queries from −12 to 39, rows below 28, keys below 40, 4 heads in 2 groups, 3 sequences.
inline Tile random_tile(Random& random) {
    Tile tile;
    tile.query_begin = random_index(random, -12, 31);
    tile.query_end = tile.query_begin + random_index(random, 1, 8);
    tile.key_begin = random_index(random, 0, 32);
    tile.key_end = tile.key_begin + random_index(random, 1, 8);
    tile.row_begin = random_index(random, 0, 20);
    tile.head = random_index(random, 0, 3);
    tile.kv_head = tile.head / 2;
    tile.sequence = random_index(random, 0, 2);
    return tile;
}

}  // namespace attend::test

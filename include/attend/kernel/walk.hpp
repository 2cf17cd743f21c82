#pragma once
/// \file
/// The walk over the keys of a block, tile by tile, that forward, backward and the weights share.

#include <algorithm>

#include <attend/call/block_rows.hpp>
#include <attend/engine/engine.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// A tile of keys and values, as the blocks that share it read it: what it takes to read it so is done once.
template <class T>
struct KeyTile {
    Index begin, keys;
    RowOperand<T> k;        ///< features of the keys, keys × width
    StridedMatrix<T> rows;  ///< values, keys × d_v
    RowOperand<T> v;        ///< the same as operand of a product, d_v × keys
    bool has_k = false, has_v = false;

    KeyTile(Index begin_, Index end) : begin(begin_), keys(std::min(key_block, end - begin_)) {}
};

/// Calls `visit(block, tile, cover)` for the tiles of the keys from `begin` on, and each of them for all blocks, which
/// `for_each` calls a function with. A tile whose cover is none is hidden from all of a block.
template <class T, class ForEach, class Visit>
ATTEND_ALWAYS_INLINE inline void walk(Index begin, Index end, ForEach&& for_each, Visit&& visit) {
    for (; begin < end; begin += key_block) {
        KeyTile<T> tile(begin, end);
        for_each([&](auto& block) { visit(block, tile, block.cover_of_tile(tile.begin, tile.keys)); });
    }
}

}  // namespace attend::detail::fused

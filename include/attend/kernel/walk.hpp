#pragma once
/// \file
/// The walk over the keys of a block, tile by tile, that forward, backward and the weights share.

#include <algorithm>
#include <optional>

#include <attend/call/block_rows.hpp>
#include <attend/engine/engine.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// A tile of keys and values, as the blocks that share it read it: what it takes to read it so is done once.
template <class T>
struct KeyTile {
    Index begin, keys;
    Index position;         ///< of the first key; the others follow it
    RowOperand<T> k;        ///< features of the keys, keys × width
    StridedMatrix<T> rows;  ///< values, keys × d_v
    RowOperand<T> v;        ///< the same as operand of a product, d_v × keys
    bool has_k = false, has_v = false;
    std::optional<bool> is_finite;  ///< whether all values are, where that has been asked

    KeyTile(Index begin_, const KeyRun& run) : begin(begin_), keys(run.keys), position(run.position) {}

    /// Some of its keys, of one whose operands have been read and are not packed.
    KeyTile part(Index from, Index count) const {
        KeyTile part(begin + from, {position + from, count});
        part.k = {from_row(k.matrix, from)};
        part.rows = from_row(rows, from);
        part.v = {{part.rows.data, rows.depth_stride, rows.row_stride}};
        part.has_k = has_k, part.has_v = has_v, part.is_finite = is_finite;
        return part;
    }

private:
    static StridedMatrix<T> from_row(StridedMatrix<T> matrix, Index row) {
        matrix.data += row * matrix.row_stride;
        return matrix;
    }
};

/// Keys that stand at the positions that they are counted by.
struct AtTheirIndex {
    static KeyRun run(Index begin, Index most) { return {begin, most}; }
};

/// Calls `visit(block, tile, cover)` for the tiles of the keys from `begin` on, which stand where `keys` says, and each
/// of them for all blocks, which `for_each` calls a function with. A tile whose cover is none is hidden from all of a
/// block.
template <class T, class Keys, class ForEach, class Visit>
ATTEND_ALWAYS_INLINE inline void walk(const Keys& keys, Index begin, Index end, ForEach&& for_each, Visit&& visit) {
    while (begin < end) {
        KeyTile<T> tile(begin, keys.run(begin, std::min(key_block, end - begin)));
        begin += tile.keys;  // a block may cut the tile short for itself
        for_each([&](auto& block) { visit(block, tile, block.cover_of_tile(tile.position, tile.keys)); });
    }
}

}  // namespace attend::detail::fused

#pragma once
/// \file
/// Block-sparse mask.

#include <attend/core/concepts.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI {

/// Keeps whole blocks of pairs: blocks(query / query_block, key / key_block), in absolute positions. What lies beyond
/// the matrix of blocks is masked.
struct BlockSparse {
    static constexpr Kind kind = Kind::mask;

    RowMatrix<bool> blocks;
    Index query_block = 1, key_block = 1;

    void check(const Shape&) const {
        detail::require(query_block > 0 && key_block > 0, "block_sparse: block sizes must be above 0, got ",
                        query_block, " and ", key_block);
    }
    bool operator()(const Position& p) const {
        return p.query >= 0 && p.query / query_block < blocks.rows() && p.key / key_block < blocks.cols() &&
               blocks(p.query / query_block, p.key / key_block);
    }
    Cover cover(const Tile& t) const {
        bool any = false, all = true;
        for (Index i = floor_block(t.query_begin); i <= floor_block(t.query_end - 1); ++i) {
            for (Index j = t.key_begin / key_block; j <= (t.key_end - 1) / key_block; ++j) {
                const bool kept = i >= 0 && i < blocks.rows() && j < blocks.cols() && blocks(i, j);
                any = any || kept;
                all = all && kept;
            }
        }
        return all ? Cover::all : any ? Cover::some : Cover::none;
    }

private:
    Index floor_block(Index query) const { return query >= 0 ? query / query_block : -1; }
};

/// `block_sparse(blocks, 64, 64)`: `blocks` is any dense boolean expression, copied. Throws unless both block sizes are
/// above 0.
template <detail::Dense X>
BlockSparse block_sparse(const X& blocks, Index query_block, Index key_block) {
    BlockSparse mask{blocks.matrix(), query_block, key_block};
    mask.check({});
    return mask;
}

}  // namespace attend

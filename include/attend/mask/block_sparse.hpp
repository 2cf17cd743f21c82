#pragma once
/// \file
/// Block-sparse mask.

#include <algorithm>

#include <attend/core/concepts.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI {

/// Keeps whole blocks of pairs: blocks(query / query_block, key / key_block), in absolute positions. What lies beyond
/// the matrix of blocks is masked. It serves all heads and sequences, or holds a block of rows for each head, and of
/// `sequences` above 1 all that for each of them.
struct BlockSparse {
    static constexpr Kind kind = Kind::mask;

    RowMatrix<bool> blocks;                ///< sequences · heads · blocks of queries × blocks of keys
    Index query_block = 1, key_block = 1;  ///< so many queries and keys are a block
    Index heads = 1, sequences = 1;        ///< that have rows of their own
    Index first = 0;                       ///< which block of queries the first row is

    auto spelled(const auto& say) const {
        return say("block_sparse", blocks, query_block, key_block, say.when(heads != 1, heads));
    }

    void check(const Shape& shape) const {
        check_blocks();
        detail::require(heads == 1 || heads == shape.heads, "block_sparse: holds ", heads, " heads, the call has ",
                        shape.heads);
        detail::require(sequences == 1 || sequences == shape.sequences, "block_sparse: holds ", sequences,
                        " sequences, the call has ", shape.sequences);
    }
    /// Throws unless block sizes are above 0, and heads and sequences divide the rows.
    void check_blocks() const {
        detail::require(query_block > 0 && key_block > 0, "block_sparse: block sizes must be above 0, got ",
                        query_block, " and ", key_block);
        detail::require(heads > 0 && sequences > 0 && blocks.rows() % (heads * sequences) == 0, "block_sparse: ", heads,
                        " heads of ", sequences, " sequences do not divide the rows of ",
                        detail::named("blocks", blocks.rows(), blocks.cols()));
    }
    bool operator()(const Position& p) const { return keeps(p, query_of(p.query), p.key / key_block); }
    Cover cover(const Tile& t) const {
        bool any = false, all = true;
        for (Index i = query_of(t.query_begin); i <= query_of(t.query_end - 1); ++i) {
            for (Index j = t.key_begin / key_block; j <= (t.key_end - 1) / key_block; ++j) {
                const bool kept = keeps(t, i, j);
                any = any || kept;
                all = all && kept;
            }
        }
        return all ? Cover::all : any ? Cover::some : Cover::none;
    }

private:
    /// The row of a query among those of its head; −1 before the first.
    Index query_of(Index query) const { return std::max<Index>(-1, query >= 0 ? query / query_block - first : -1); }
    /// Whether a block is kept of the head and sequence of a pair or a tile.
    bool keeps(const auto& of, Index i, Index j) const {
        const Index rows = heads == 1 && sequences == 1 ? blocks.rows() : blocks.rows() / (heads * sequences);
        if (i < 0 || i >= rows || j >= blocks.cols()) return false;
        return blocks(((sequences == 1 ? 0 : of.sequence * heads) + (heads == 1 ? 0 : of.head)) * rows + i, j);
    }
};

/// `block_sparse(blocks, 64, 64)` for all heads, or `block_sparse(blocks, 64, 64, heads)` with a block of rows a head:
/// `blocks` is any dense boolean expression, copied. Throws unless both block sizes are above 0 and the heads divide
/// the rows.
template <detail::Dense X>
BlockSparse block_sparse(const X& blocks, Index query_block, Index key_block, Index heads = 1) {
    BlockSparse mask{blocks.matrix(), query_block, key_block, heads};
    mask.check_blocks();
    return mask;
}

}  // namespace attend

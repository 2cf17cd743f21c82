#pragma once
/// \file
/// The queries of a block as the scores are formed from them.

#include <algorithm>
#include <cmath>

#include <attend/call/block_rows.hpp>
#include <attend/core/operand_rows.hpp>
#include <attend/core/row_lanes.hpp>
#include <attend/core/workspace.hpp>
#include <attend/engine/products.hpp>
#include <attend/kernel/needs.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The keys of a tile, so many that the scores of each query fill whole packets.
template <class T>
Index tile_of(Index keys) {
    return std::min(key_block, simd::padded<T>(keys));
}

/// What the scores of a block are formed from.
template <class T>
struct ScoreScratch {
    T* mapped;  ///< lanes × width: features of the queries, row by row
    Index mapped_stride;
    Index tile;                      ///< keys of a tile
    T* q;                            ///< width × lanes
    T* e_q;                          ///< width × lanes: exponentials of q, for scores that can do with them
    T* k;                            ///< a tile of keys, where they are not read in place
    T* e_k;                          ///< a tile of exponentials of keys
    std::byte *packed_k, *packed_q;  ///< of a tile of keys and of q, where the engine packs
    PackedMemory packing;

    ScoreScratch(Arena& arena, Index lanes, Index tile_, Index width, Index stride, bool exponentials,
                 const PackedMemory& packing_)
        : mapped(arena.take<T>(lanes * stride)),
          mapped_stride(stride),
          tile(tile_),
          q(arena.take<T>(lanes * width)),
          e_q(arena.take<T>(exponentials ? lanes * width : 0)),
          k(arena.take<T>(tile_ * width)),
          e_k(arena.take<T>(exponentials ? tile_ * width : 0)),
          packed_k(packing_.take(arena, tile_, width)),
          packed_q(packing_.take(arena, lanes, width)),
          packing(packing_) {}

    /// That of another block of lanes with the same keys.
    ScoreScratch(Arena& arena, const ScoreScratch& first, Index lanes, Index width, bool exponentials)
        : ScoreScratch(first) {
        q = arena.take<T>(lanes * width);
        e_q = arena.take<T>(exponentials ? lanes * width : 0);
        packed_q = packing.take(arena, lanes, width);
    }
};

/// The queries of a block as a product's operand, and the products of dot-like scores: what does not depend on the
/// attention.
template <class T, class X, class E>
class BlockQueries {
public:
    const BlockRows<T, X>& rows;
    const ScoreScratch<T>& z;
    Index width;
    bool by_rows;  ///< features stand in lanes instead of queries
    Products<T, E> products;
    LaneOperand<T> operand{};
    T factor = 1;  ///< times which queries stand in the operand
    T scale = 1;   ///< times which products are scores

    BlockQueries(const E& engine, const BlockRows<T, X>& rows_, Index width_, bool by_rows_,
                 const ScoreScratch<T>& scratch)
        : rows(rows_),
          z(scratch),
          width(width_),
          by_rows(by_rows_),
          products(engine, rows.block.packs && rows.lanes > most_unpacked_lanes && scratch.packing) {}

    /// What of the score's factor the queries are multiplied by. The rest is left to the products where it would cost
    /// operands that are rounded their bits.
    void take_factor(T of_score) {
        factor = of_score;
        if constexpr (RoundingEngine<E>) {
            if (products.packs() || by_rows) {
                int exponent = 0;
                scale = 2 * std::frexp(of_score, &exponent);
                factor = std::ldexp(T(1), exponent - 1);
            }
        }
    }
    /// Puts rows of one head that are their own features, but for a factor, into place without a stop in between.
    /// Returns false where they cannot go so.
    ATTEND_NOINLINE bool load_in_place() {
        if constexpr (std::is_same_v<T, X>) {
            const auto q = rows.of(rows.problem.q, 0);
            if (rows.block.heads != 1) return false;
            if (q.innerStride() != 1) {  // column-major: queries follow each other already
                if (by_rows || q.outerStride() != 1) return false;
                for (Index a = 0; a < width; ++a) {
                    T* const to = z.q + a * rows.lanes;
                    scale_row(q.data() + a * q.innerStride(), q.rows(), factor, to, 1);
                    std::fill(to + q.rows(), to + rows.lanes, T(0));
                }
                pack();
                return true;
            }
            if (by_rows) {
                for (Index i = 0; i < q.rows(); ++i)
                    scale_row(q.data() + i * q.outerStride(), width, factor, z.mapped + i * width, 1);
            } else {
                rows_to_lanes(q.data(), q.outerStride(), q.rows(), width, factor, z.q, rows.lanes);
                pack();
            }
            return true;
        }
        return false;
    }
    /// Room for the features of a head's rows.
    StridedBlock<T> mapped(Index head) const {
        return StridedBlock<T>(z.mapped + head * rows.block.rows * z.mapped_stride, rows.block.rows, width,
                               Eigen::OuterStride<>(z.mapped_stride));
    }
    /// Those into lanes, unless products go by rows.
    ATTEND_NOINLINE void mapped_to_lanes() {
        if (by_rows) return;
        rows_to_lanes(z.mapped, z.mapped_stride, rows.block.count(), width, T(1), z.q, rows.lanes);
        pack();
    }

    /// s = q · kᵀ of a tile and a range of lanes, and `largest`, by lane, is raised to the largest.
    ATTEND_NOINLINE void multiply(RowOperand<T>& k, Index keys, const LaneRange& range, T* s, T* largest,
                                  ReadAhead* ahead) const {
        if (products.packs(keys)) products.prepare(k, keys, width, z.packed_k);
        products.multiply(k, keys, width, operand, rows.lanes, range, s,
                          {.largest = largest, .scale = scale, .ahead = ahead});
    }

private:
    /// A packet of lanes alone fills half an AMX tile. What is rounded is packed all the same: a tile of keys that a
    /// team shares may be there in no other form.
    static constexpr Index most_unpacked_lanes = RoundingEngine<E> ? 0 : simd::width<T>;

    void pack() {
        operand = {z.q};
        products.prepare(operand, width, rows.lanes, z.packed_q);
    }
};

}  // namespace attend::detail::fused

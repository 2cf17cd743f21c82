#pragma once
/// \file
/// What a backward call is given beside its operands, and what a worker holds of one block of queries.

#include <algorithm>

#include <attend/core/gradient_output.hpp>
#include <attend/kernel/block_scores.hpp>
#include <attend/parts/fold_gradients.hpp>
#include <attend/parts/parameter_sums.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The scratch of one block of lanes. Tiles are key_block × lanes.
template <class T>
struct BackwardScratch : FoldScratch<T> {
    ScoreScratch<T> scores;
    T* raw;         ///< a tile of scores before the modifiers, where there are any
    T* dq;          ///< width × lanes
    T* dout_rows;   ///< lanes × d_v, padded
    T* v;           ///< a tile of values, where they are not read in place
    T* k_finite;    ///< a tile of keys without what is not finite
    Index room;     ///< keys whose tiles stand beside each other; of more keys, tiles take each other's place
    T *row, *drow;  ///< one row of weights and its gradient, for normalizers that need it whole
    T* ones;        ///< as many as any product has lanes
    T* kept;        ///< for each modifier of tiles, key_block × lanes: the gradients of what it made
    /// Of p or ds, of the rows of dout and of q, of dout in lanes and of a tile of values, where the engine packs.
    std::byte *packed_weights, *packed_dout, *packed_q, *packed_dout_lanes, *packed_v;

    BackwardScratch(Arena& arena, const Shape& shape, Index lanes, const Needs& needs, const PackedMemory& packing)
        : FoldScratch<T>(arena, lanes * kept_keys(shape, needs), shape.d_v, needs.state_members, lanes),
          scores(arena, lanes, key_block, needs.width, simd::padded<T>(needs.width), needs.exponentials, packing) {
        const Index dv_stride = simd::padded<T>(shape.d_v), row_keys = needs.whole_rows ? shape.keys : 0;
        room = kept_keys(shape, needs);
        raw = arena.take<T>(needs.modifies ? lanes * room : 0);
        dq = arena.take<T>(needs.width * lanes);
        dout_rows = arena.take<T>(lanes * dv_stride);
        v = arena.take<T>(key_block * shape.d_v);
        k_finite = arena.take<T>(key_block * needs.width);
        row = arena.take<T>(row_keys);
        drow = arena.take<T>(row_keys);
        ones = arena.take<T>(std::max({lanes, scores.mapped_stride, dv_stride}));
        kept = arena.take<T>(needs.tile_modifiers * key_block * lanes);
        packed_weights = packing.take(arena, key_block, lanes);
        packed_dout = packing.take(arena, dv_stride, lanes);
        packed_q = packing.take(arena, scores.mapped_stride, lanes);
        packed_dout_lanes = packing.take(arena, lanes, shape.d_v);
        packed_v = packing.take(arena, key_block, shape.d_v);
    }

private:
    /// What is seen twice is kept from the first time, where it is not so much that it would leave the caches: formed
    /// again, it has the same bits.
    static Index kept_keys(const Shape& shape, const Needs& needs) {
        constexpr Index most = 4096;
        return needs.whole_rows ? shape.keys : std::min(needs.sees_twice ? most : key_block, shape.keys);
    }
};

/// The gradients of the keys and values of one head, as the blocks of its queries add them up tile by tile.
///
/// Rows are padded to whole packets, since their features stand in lanes. A tile that nobody has added to holds
/// nothing.
template <class T>
struct KeyGradients {
    Index dk_stride, dv_stride;
    T* dk;          ///< keys × dk_stride: the gradient of the keys' features
    T* dv;          ///< keys × dv_stride
    bool* touched;  ///< by tile of key_block keys

    KeyGradients(Arena& arena, Index keys, Index width, Index d_v)
        : dk_stride(simd::padded<T>(width)),
          dv_stride(simd::padded<T>(d_v)),
          dk(arena.take<T>(keys * dk_stride)),
          dv(arena.take<T>(keys * dv_stride)),
          touched(arena.take<bool>(tiles(keys))) {}

    static Index tiles(Index keys) { return (keys + key_block - 1) / key_block; }
    void clear(Index keys) { std::fill(touched, touched + tiles(keys), false); }

    /// Adds another task's tile.
    void add(const KeyGradients& other, Index tile, Index keys) {
        const Index begin = tile * key_block;
        add(dk + begin * dk_stride, other.dk + begin * dk_stride, keys * dk_stride);
        add(dv + begin * dv_stride, other.dv + begin * dv_stride, keys * dv_stride);
    }

private:
    static void add(T* to, const T* from, Index size) {
        for (Index i = 0; i < size; i += simd::width<T>)
            simd::store(to + i, simd::add(simd::load(to + i), simd::load(from + i)));
    }
};

/// What a backward call has beside its operands.
template <class T, class X>
struct Gradients {
    StridedView<const X> out, dout;
    StridedView<const T> lse, dlse, dweights;  ///< no dlse or dweights: none
    GradientView<X> dq;
};

}  // namespace attend::detail::fused

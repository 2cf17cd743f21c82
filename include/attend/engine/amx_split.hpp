#pragma once
/// \file
/// Products by AMX, of operands split into bfloat16 thirds: it multiplies numbers of 16 bits only, but sixteen times as
/// many at once as packets multiply floats.

#include <algorithm>
#include <cmath>

#include <attend/engine/amx_tiles.hpp>
#include <attend/engine/thirds.hpp>

namespace attend::inline ATTEND_ABI::detail {

#if defined(ATTEND_AMX)

/// What is not finite, and counted as 0 in the parts.
inline void add_what_is_not_finite(const StridedMatrix<float>& a, Index rows, Index depth, const float* b, Index lanes,
                                   float* c) {
    for (Index k = 0; k < depth; ++k) {
        for (Index r = 0; r < rows; ++r) {
            const float x = a.data[r * a.row_stride + k * a.depth_stride];
            for (Index lane = 0; lane < lanes; ++lane) {
                const float y = b[k * lanes + lane];
                if (!std::isfinite(x) || !std::isfinite(y)) c[r * lanes + lane] += x * y;
            }
        }
    }
}

/// C (rows × lanes) = factor ∘ C + A (rows × depth) · B (depth × lanes), of split operands.
inline void multiply_split(const RowOperand<float>& a, Index rows, Index depth, const LaneOperand<float>& b,
                           Index lanes, float* c, const ProductOptions<float>& options) {
    constexpr Index step = Thirds::count * amx::tile_bytes;
    const Index steps = tiles(depth, amx::tile_depth);
    const auto of = [&](const std::byte* split) { return TiledOperand{split, steps * step, step}; };
    ProductOptions<float> finite = options;
    if (!a.finite || !b.finite) finite.largest = nullptr;
    multiply_by_tiles<Thirds::count>(of(a.packed), rows, steps, of(b.packed), lanes, c, finite);
    if (a.finite && b.finite) [[likely]]
        return;
    add_what_is_not_finite(a.matrix, rows, depth, b.data, lanes, c);
    TileBlock{.c = c, .options = {.largest = options.largest}, .rows = rows, .lanes = lanes, .c_stride = lanes}
        .finish();
}

/// Products of floats by AMX.
struct AmxSplit {
    using Session = amx::Tiles;

    /// Whether products with features of these widths are faster so.
    static bool packs(Index width, Index d_v) { return std::min(width, d_v) > amx::tile_rows && amx::available(); }
    static constexpr Index packed_bytes(Index lines, Index depth) { return Thirds::bytes(lines, depth); }
    /// Of fewer keys, tiles would be all but empty.
    static constexpr Index least_keys = amx::tile_rows;

    void pack(RowOperand<float>& a, Index rows, Index depth, std::byte* to) const {
        a.finite = split_rows(a.matrix, rows, depth, to);
        a.packed = to;
    }
    void pack(LaneOperand<float>& b, Index depth, Index lanes, std::byte* to) const {
        b.finite = split_lanes(b.data, depth, lanes, to);
        b.packed = to;
    }
    void multiply_packed(const RowOperand<float>& a, Index rows, Index depth, const LaneOperand<float>& b, Index lanes,
                         float* c, const ProductOptions<float>& options) const {
        multiply_split(a, rows, depth, b, lanes, c, options);
    }

    /// Packs one packet of lanes, from `lane` on, of a B (depth × lanes) that is made meanwhile: `make(k)` gives its
    /// row k. Returns the sum of the rows.
    template <class Make>
    simd::Packet<float> pack_made(Index depth, Index lane, Make&& make, std::byte* to) const {
        constexpr Index half = amx::tile_depth / 2, step_bytes = Thirds::count * amx::tile_bytes;
        const Index steps = tiles(depth, amx::tile_depth);
        const auto row = [&](Index k) ATTEND_ALWAYS_INLINE { return k < depth ? make(k) : simd::broadcast(0.F); };
        auto sum = simd::broadcast(0.F);
        to += lane / amx::tile_rows * steps * step_bytes;
        for (Index k = 0; k < depth; k += half, to += step_bytes) {
            for (Index i = 0; i < half; ++i, ++k) {
                const auto a = row(k), b = row(k + half);
                sum = simd::add(sum, simd::add(a, b));
                split_pairs(a, b, to + i * 64);
            }
        }
        return sum;
    }
};

#endif

}  // namespace attend::detail

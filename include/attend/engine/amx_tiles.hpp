#pragma once
/// \file
/// Products by AMX, of operands in tiles: the steps that are the same whatever a tile holds, one number in each place
/// or parts of one.

#include <algorithm>

#include <attend/core/amx.hpp>
#include <attend/engine/packets.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// How many pieces of `size` it takes for so many lines or products.
constexpr Index tiles(Index lines, Index size) { return (lines + size - 1) / size; }

#if defined(ATTEND_AMX)

/// An operand: for 16 rows or lanes a tile for each step along the depth, or one after the other the parts of it.
struct TiledOperand {
    const std::byte* data;
    Index lines, step;           ///< bytes from 16 rows or lanes to the next, and from step to step
    Index row = amx::row_bytes;  ///< and from row to row of a tile

    TiledOperand from(Index line) const { return {data + line / amx::tile_rows * lines, lines, step, row}; }
};

/// The product of `rows` by `lanes` tiles, at most two by two: C = A · B over `steps` steps. Of three parts those
/// products are added up that matter (engine/thirds.hpp).
template <int parts, int rows, int lanes>
ATTEND_NOINLINE void multiply_tiles(TiledOperand a, TiledOperand b, Index steps, float* c, Index c_stride) {
    static_assert(parts == 1 || parts == 3);
    const Index stride = c_stride * static_cast<Index>(sizeof(float));
    amx::zero<0>();
    if constexpr (lanes > 1) amx::zero<1>();
    if constexpr (rows > 1) amx::zero<2>();
    if constexpr (rows > 1 && lanes > 1) amx::zero<3>();
    const auto load_a = [&](int part) ATTEND_ALWAYS_INLINE {
        amx::load<4>(a.data + part * amx::tile_bytes, a.row);
        if constexpr (rows > 1) amx::load<5>(a.data + a.lines + part * amx::tile_bytes, a.row);
    };
    const auto load_b = [&](int part) ATTEND_ALWAYS_INLINE {
        amx::load<6>(b.data + part * amx::tile_bytes, b.row);
        if constexpr (lanes > 1) amx::load<7>(b.data + b.lines + part * amx::tile_bytes, b.row);
    };
    const auto add = []() ATTEND_ALWAYS_INLINE {
        amx::multiply<0, 4, 6>();
        if constexpr (lanes > 1) amx::multiply<1, 4, 7>();
        if constexpr (rows > 1) amx::multiply<2, 5, 6>();
        if constexpr (rows > 1 && lanes > 1) amx::multiply<3, 5, 7>();
    };
    for (Index step = 0; step < steps; ++step, a.data += a.step, b.data += b.step) {
        if constexpr (parts == 1) {
            load_a(0), load_b(0), add();
        } else {
            // In this order each product changes one operand.
            load_a(0), load_b(2), add();
            load_b(1), add();
            load_a(1), add();
            load_b(0), add();
            load_a(2), add();
            load_a(0), add();
        }
    }
    amx::store<0>(c, stride);
    if constexpr (lanes > 1) amx::store<1>(c + 16, stride);
    if constexpr (rows > 1) amx::store<2>(c + 16 * c_stride, stride);
    if constexpr (rows > 1 && lanes > 1) amx::store<3>(c + 16 * c_stride + 16, stride);
}

/// Up to two by two tiles of C, whose products have been asked for, and what remains to be done with them.
struct TileBlock {
    float* c = nullptr;
    const float* product = nullptr;  ///< where it stands, if not in C
    ProductOptions<float> options;   ///< those of its lanes
    Index rows = 0, lanes = 0, c_stride = 0, product_stride = 0;

    /// C = factor ∘ C + scale · product, added last: many short sums are more exact than a long one.
    void finish() const {
        const bool writes = product != nullptr || options.scale != 1;
        if (!writes && options.largest == nullptr) return;
        const auto scale = simd::broadcast(options.scale);
        for (Index lane = 0; lane < lanes; lane += amx::tile_rows) {
            auto most = options.largest == nullptr ? simd::broadcast(0.F) : simd::load(options.largest + lane);
            const auto f = options.factor == nullptr ? simd::broadcast(0.F) : simd::load(options.factor + lane);
            for (Index r = 0; r < rows; ++r) {
                float* const to = c + r * c_stride + lane;
                auto x = simd::load(product == nullptr ? to : product + r * product_stride + lane);
                if (options.scale != 1) x = simd::mul(x, scale);
                if (options.factor != nullptr) x = simd::madd(f, simd::load(to), x);
                if (writes) simd::store(to, x);
                most = simd::max(most, x);
            }
            if (options.largest != nullptr) simd::store(options.largest + lane, most);
        }
    }
};

/// C (rows × lanes) = factor ∘ C + scale · A · B, whose depth is `steps` tiles.
template <int parts>
void multiply_by_tiles(const TiledOperand& a, Index rows, Index steps, const TiledOperand& b, Index lanes, float* c,
                       const ProductOptions<float>& options) {
    constexpr Index size = amx::tile_rows, lines_of_block = parts == 1 ? 16 : 96;
    alignas(64) float products[2][2 * size * 2 * size];
    TileBlock last;
    Index turn = 0;
    for (Index lane = 0; lane < lanes; lane += 2 * size) {
        for (Index r = 0; r < rows; r += 2 * size) {
            TileBlock block{.c = c + r * lanes + lane,
                            .options = {.scale = options.scale},
                            .rows = std::min(2 * size, rows - r),
                            .lanes = std::min(2 * size, lanes - lane),
                            .c_stride = lanes,
                            .product_stride = 2 * size};
            if (options.factor != nullptr) block.options.factor = options.factor + lane;
            if (options.largest != nullptr) block.options.largest = options.largest + lane;
            // Only whole tiles can be stored.
            float* to = block.c;
            Index stride = lanes;
            if (options.factor != nullptr || block.rows % size != 0) {
                block.product = to = products[turn++ % 2];
                stride = block.product_stride;
            }
            const bool tall = block.rows > size, wide = block.lanes > size;
            (tall   ? wide ? multiply_tiles<parts, 2, 2> : multiply_tiles<parts, 2, 1>
               : wide ? multiply_tiles<parts, 1, 2>
                    : multiply_tiles<parts, 1, 1>)(a.from(r), b.from(lane), steps, to, stride);
            // By now the one before is there, and this one goes on meanwhile.
            last.finish();
            last = block;
            if (options.ahead != nullptr) options.ahead->some(lines_of_block);
        }
    }
    last.finish();
}

#endif

}  // namespace attend::detail

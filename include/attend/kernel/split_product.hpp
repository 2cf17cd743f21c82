#pragma once
/// \file
/// The product of the tiles by AMX, of split operands: it multiplies numbers of 16 bits only, but sixteen times as many
/// at once as packets multiply floats.

#include <algorithm>
#include <cmath>

#include <attend/kernel/split.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A of a product, rows × depth: as it is, and split where the product shall be made of parts.
template <class T>
struct RowOperand {
    BroadcastMatrix<T> matrix;
    const std::byte* split = nullptr;
    bool finite = true;  ///< what is not finite counts as 0 in the parts
};
/// B of a product, depth × lanes, likewise.
template <class T>
struct LaneOperand {
    T* data;
    const std::byte* split = nullptr;
    bool finite = true;
};

#if defined(ATTEND_AMX)

/// Splits an operand into `parts`.
inline void split_into(RowOperand<float>& a, Index rows, Index depth, std::byte* parts) {
    a.finite = split_rows(a.matrix, rows, depth, parts);
    a.split = parts;
}
inline void split_into(LaneOperand<float>& b, Index depth, Index lanes, std::byte* parts) {
    b.finite = split_lanes(b.data, depth, lanes, parts);
    b.split = parts;
}

/// The product of `rows` by `lanes` tiles, at most two by two: C = A · B over `steps` steps, each the parts of a tile.
template <int rows, int lanes>
ATTEND_NOINLINE void multiply_parts(const std::byte* a, const std::byte* b, Index steps, float* c, Index c_stride) {
    constexpr Index step_bytes = SplitSize::parts * amx::tile_bytes;
    const Index next = steps * step_bytes, stride = c_stride * static_cast<Index>(sizeof(float));
    asm volatile("" ::: "memory");  // the instructions' wrappers do not say that they read memory
    _tile_zero(0);
    if constexpr (lanes > 1) _tile_zero(1);
    if constexpr (rows > 1) _tile_zero(2);
    if constexpr (rows > 1 && lanes > 1) _tile_zero(3);
    const auto load_a = [&](int part) ATTEND_ALWAYS_INLINE {
        _tile_loadd(4, a + part * amx::tile_bytes, 64);
        if constexpr (rows > 1) _tile_loadd(5, a + next + part * amx::tile_bytes, 64);
    };
    const auto load_b = [&](int part) ATTEND_ALWAYS_INLINE {
        _tile_loadd(6, b + part * amx::tile_bytes, 64);
        if constexpr (lanes > 1) _tile_loadd(7, b + next + part * amx::tile_bytes, 64);
    };
    const auto add = []() ATTEND_ALWAYS_INLINE {
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (lanes > 1) _tile_dpbf16ps(1, 4, 7);
        if constexpr (rows > 1) _tile_dpbf16ps(2, 5, 6);
        if constexpr (rows > 1 && lanes > 1) _tile_dpbf16ps(3, 5, 7);
    };
    for (Index step = 0; step < steps; ++step, a += step_bytes, b += step_bytes) {
        // In this order each product changes one operand.
        load_a(0), load_b(2), add();
        load_b(1), add();
        load_a(1), add();
        load_b(0), add();
        load_a(2), add();
        load_a(0), add();
    }
    _tile_stored(0, c, stride);
    if constexpr (lanes > 1) _tile_stored(1, c + 16, stride);
    if constexpr (rows > 1) _tile_stored(2, c + 16 * c_stride, stride);
    if constexpr (rows > 1 && lanes > 1) _tile_stored(3, c + 16 * c_stride + 16, stride);
}

/// Up to two by two tiles of C, whose products have been asked for, and what remains to be done with them.
struct SplitBlock {
    float* c = nullptr;
    const float* product = nullptr;  ///< where it stands, if not in C
    const float* factor = nullptr;
    float* largest = nullptr;
    Index rows = 0, lanes = 0, c_stride = 0, product_stride = 0;

    /// C = factor ∘ C + product, added last: many short sums are more exact than a long one.
    void finish() const {
        if (product == nullptr && largest == nullptr) return;
        for (Index lane = 0; lane < lanes; lane += amx::tile_rows) {
            auto most = largest == nullptr ? simd::broadcast(0.F) : simd::load(largest + lane);
            const auto f = factor == nullptr ? simd::broadcast(0.F) : simd::load(factor + lane);
            for (Index r = 0; r < rows; ++r) {
                float* const to = c + r * c_stride + lane;
                auto x = simd::load(product == nullptr ? to : product + r * product_stride + lane);
                if (factor != nullptr) x = simd::madd(f, simd::load(to), x);
                if (product != nullptr) simd::store(to, x);
                most = simd::max(most, x);
            }
            if (largest != nullptr) simd::store(largest + lane, most);
        }
    }
};

/// What is not finite, and counted as 0 in the parts.
inline void add_what_is_not_finite(const BroadcastMatrix<float>& a, Index rows, Index depth, const float* b,
                                   Index lanes, float* c) {
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
                           Index lanes, float* c, const TileOptions<float>& options) {
    constexpr Index size = amx::tile_rows, lines_of_block = 96;
    const Index steps = SplitSize::tiles(depth, amx::tile_depth), group = steps * SplitSize::parts * amx::tile_bytes;
    alignas(64) float products[2][2 * size * 2 * size];
    SplitBlock last;
    Index turn = 0;
    for (Index lane = 0; lane < lanes; lane += 2 * size) {
        for (Index r = 0; r < rows; r += 2 * size) {
            SplitBlock block{.c = c + r * lanes + lane,
                             .rows = std::min(2 * size, rows - r),
                             .lanes = std::min(2 * size, lanes - lane),
                             .c_stride = lanes,
                             .product_stride = 2 * size};
            if (options.factor != nullptr) block.factor = options.factor + lane;
            if (options.largest != nullptr && (a.finite && b.finite)) block.largest = options.largest + lane;
            // Only whole tiles can be stored.
            float* to = block.c;
            Index stride = lanes;
            if (options.factor != nullptr || block.rows % size != 0) {
                block.product = to = products[turn++ % 2];
                stride = block.product_stride;
            }
            const std::byte *const a_split = a.split + r / size * group, *const b_split = b.split + lane / size * group;
            const bool tall = block.rows > size, wide = block.lanes > size;
            (tall   ? wide ? multiply_parts<2, 2> : multiply_parts<2, 1>
               : wide ? multiply_parts<1, 2>
                    : multiply_parts<1, 1>)(a_split, b_split, steps, to, stride);
            // By now the one before is there, and this one goes on meanwhile.
            last.finish();
            last = block;
            if (options.ahead != nullptr) options.ahead->some(lines_of_block);
        }
    }
    last.finish();
    if (a.finite && b.finite) [[likely]]
        return;
    add_what_is_not_finite(a.matrix, rows, depth, b.data, lanes, c);
    SplitBlock{.c = c, .largest = options.largest, .rows = rows, .lanes = lanes, .c_stride = lanes}.finish();
}

#endif

}  // namespace attend::detail

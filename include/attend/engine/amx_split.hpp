#pragma once
/// \file
/// Products by AMX, of operands split into bfloat16 thirds: it multiplies numbers of 16 bits only, but sixteen times as
/// many at once as packets multiply floats.

#include <algorithm>
#include <cmath>

#include <attend/engine/thirds.hpp>

namespace attend::inline ATTEND_ABI::detail {

#if defined(ATTEND_AMX)

/// The product of `rows` by `lanes` tiles, at most two by two: C = A · B over `steps` steps, each the parts of a tile.
template <int rows, int lanes>
ATTEND_NOINLINE void multiply_thirds(const std::byte* a, const std::byte* b, Index steps, float* c, Index c_stride) {
    constexpr Index step_bytes = Thirds::count * amx::tile_bytes;
    const Index next = steps * step_bytes, stride = c_stride * static_cast<Index>(sizeof(float));
    amx::zero<0>();
    if constexpr (lanes > 1) amx::zero<1>();
    if constexpr (rows > 1) amx::zero<2>();
    if constexpr (rows > 1 && lanes > 1) amx::zero<3>();
    const auto load_a = [&](int part) ATTEND_ALWAYS_INLINE {
        amx::load<4>(a + part * amx::tile_bytes, 64);
        if constexpr (rows > 1) amx::load<5>(a + next + part * amx::tile_bytes, 64);
    };
    const auto load_b = [&](int part) ATTEND_ALWAYS_INLINE {
        amx::load<6>(b + part * amx::tile_bytes, 64);
        if constexpr (lanes > 1) amx::load<7>(b + next + part * amx::tile_bytes, 64);
    };
    const auto add = []() ATTEND_ALWAYS_INLINE {
        amx::multiply<0, 4, 6>();
        if constexpr (lanes > 1) amx::multiply<1, 4, 7>();
        if constexpr (rows > 1) amx::multiply<2, 5, 6>();
        if constexpr (rows > 1 && lanes > 1) amx::multiply<3, 5, 7>();
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
    amx::store<0>(c, stride);
    if constexpr (lanes > 1) amx::store<1>(c + 16, stride);
    if constexpr (rows > 1) amx::store<2>(c + 16 * c_stride, stride);
    if constexpr (rows > 1 && lanes > 1) amx::store<3>(c + 16 * c_stride + 16, stride);
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
    constexpr Index size = amx::tile_rows, lines_of_block = 96;
    const Index steps = Thirds::tiles(depth, amx::tile_depth), group = steps * Thirds::count * amx::tile_bytes;
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
            const std::byte *const a_split = a.packed + r / size * group, *const b_split =
                                                                              b.packed + lane / size * group;
            const bool tall = block.rows > size, wide = block.lanes > size;
            (tall   ? wide ? multiply_thirds<2, 2> : multiply_thirds<2, 1>
               : wide ? multiply_thirds<1, 2>
                    : multiply_thirds<1, 1>)(a_split, b_split, steps, to, stride);
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
        const Index steps = Thirds::tiles(depth, amx::tile_depth);
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

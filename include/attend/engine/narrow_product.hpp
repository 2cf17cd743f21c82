#pragma once
/// \file
/// Products of matrices of 16 bits: computed in float, or of bfloat16 by what a processor has for it, and rounded once.

#include <algorithm>
#include <type_traits>

#include <attend/core/stored.hpp>
#include <attend/engine/fastest.hpp>
#include <attend/engine/product_panels.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// How numbers of X are multiplied: by an engine that packs them, or widened.
template <class X>
struct NarrowEngine {
    static constexpr bool packs = false;
    struct Session {};
};
#if defined(ATTEND_AVX512_BF16) || defined(ATTEND_ARM_BF16)
template <>
struct NarrowEngine<Eigen::bfloat16> {
    static constexpr bool packs = true;
    static constexpr const FastestOfBFloat16& engine = fastest_of_bfloat16;
    struct Session : FastestOfBFloat16::Session {
        Session() : FastestOfBFloat16::Session(true) {}
    };
};
#endif

/// A tile of a product of 16-bit matrices: y(r, l) for up to `high` rows and `wide` columns, whose sums stand in float
/// until all that is added to them has been. 180 KB.
template <class X>
class NarrowTile {
    using T = Compute<X>;
    using Side = ProductSide<X>;

public:
    static constexpr Index high = 192, wide = 64;

    NarrowTile(Index rows, Index columns) : rows_(rows), columns_(columns), lanes_((columns + w - 1) / w * w) {
        std::fill_n(ones_, wide, T(1));
    }

    /// The sums become y, whose rows follow each other in memory or whose columns do.
    template <class Y>
    void load(const Y* y, Index row_stride, Index column_stride) {
        for (Index r = 0; r < rows_; ++r) {
            T* const to = sums_ + r * lanes_;
            const Y* const from = y + r * row_stride;
            if (column_stride == 1) {
                simd::convert(from, columns_, to);
            } else {
                for (Index l = 0; l < columns_; ++l) to[l] = static_cast<T>(from[l * column_stride]);
            }
            std::fill(to + columns_, to + lanes_, T(0));
        }
    }
    /// The way back, rounded.
    template <class Y>
    void store(Y* y, Index row_stride, Index column_stride) const {
        for (Index r = 0; r < rows_; ++r)
            scale_row(sums_ + r * lanes_, columns_, T(1), y + r * row_stride, column_stride);
    }
    /// Adds a product, a part of the depth at a time.
    void add(const Side& rows, const Side& columns, Index depth) {
        for (Index d = 0; d < depth; d += deep) add_some(part(rows, d), part(columns, d), std::min(deep, depth - d));
    }

private:
    static constexpr Index deep = 128, w = simd::width<T>;
    using Engine = NarrowEngine<X>;
    static constexpr bool packs = Engine::packs;

    static Side part(const Side& side, Index d) {
        return {side.data + d * side.depth_stride, side.lines, side.line_stride, side.depth_stride};
    }
    /// Lines as T in `to`, along what they follow each other in memory: all of a line, or a number of each.
    static StridedMatrix<T> widened(const Side& side, Index depth, T* to) {
        if (side.line_stride == 1) {
            for (Index d = 0; d < depth; ++d)
                simd::convert(side.data + d * side.depth_stride, side.lines, to + d * side.lines);
            return {to, 1, side.lines};
        }
        for (Index i = 0; i < side.lines; ++i) {
            const X* const line = side.data + i * side.line_stride;
            if (side.depth_stride == 1) {
                simd::convert(line, depth, to + i * depth);
            } else {
                for (Index d = 0; d < depth; ++d) to[i * depth + d] = static_cast<T>(line[d * side.depth_stride]);
            }
        }
        return {to, depth, 1};
    }
    void add_some(const Side& rows, const Side& columns, Index depth) {
        const StridedMatrix<T> right = widened(columns, depth, wide_);
        lines_to_lanes<T>({right.data, columns.lines, right.row_stride, right.depth_stride}, depth, lanes_of_, lanes_);
        LaneOperand<T> b{lanes_of_};
        RowOperand<T> a{};
        const ProductOptions<T> options{.factor = ones_};
        if constexpr (packs) {
            Engine::engine.pack(b, depth, lanes_, packed_columns_);
            if (!pack_as_held(a, rows, depth)) {
                a.matrix = widened(rows, depth, wide_);
                Engine::engine.pack(a, rows_, depth, packed_rows_);
            }
            Engine::engine.multiply_packed(a, rows_, depth, b, lanes_, sums_, options);
        } else {
            a.matrix = widened(rows, depth, wide_);
            multiply(a.matrix, rows_, depth, b.data, lanes_, sums_, options);
        }
    }
    bool pack_as_held(RowOperand<T>& a, const Side& rows, Index depth) {
        if (rows.depth_stride == 1)
            return Engine::engine.pack_held_keys(a, RowBlock<X>{rows.data, rows.line_stride, rows_, depth},
                                                 packed_rows_);
        return rows.line_stride == 1 && Engine::engine.pack_held_values(
                                            a, RowBlock<X>{rows.data, rows.depth_stride, depth, rows_}, packed_rows_);
    }

    Index rows_, columns_, lanes_;
    alignas(64) T sums_[high * wide];
    alignas(64) T ones_[wide];
    alignas(64) T wide_[(high > wide ? high : wide) * deep];
    alignas(64) T lanes_of_[wide * deep];
    alignas(64) std::byte packed_rows_[packs ? high * deep * Index(sizeof(X)) : 1];
    alignas(64) std::byte packed_columns_[packs ? wide * deep * Index(sizeof(X)) : 1];
};

/// The sides of a product of matrices in memory.
template <class A, class B>
std::pair<ProductSide<typename A::Scalar>, ProductSide<typename B::Scalar>> sides_of(const A& a, const B& b) {
    const auto row = [](const auto& x) { return x.IsRowMajor ? x.outerStride() : x.innerStride(); };
    const auto column = [](const auto& x) { return x.IsRowMajor ? x.innerStride() : x.outerStride(); };
    return {{a.data(), a.rows(), row(a), column(a)}, {b.data(), b.cols(), column(b), row(b)}};
}

}  // namespace attend::detail

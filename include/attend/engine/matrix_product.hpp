#pragma once
/// \file
/// Matrix products that take nothing from the heap.

#include <algorithm>
#include <type_traits>
#include <utility>

#include <attend/core/executor.hpp>
#include <attend/core/transposed.hpp>
#include <attend/core/types.hpp>
#include <attend/engine/narrow_product.hpp>
#include <attend/engine/product_panels.hpp>
#include <attend/engine/rows.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// The factors of a product, borrowed for the expression that they stand in.
template <class A, class B>
struct Factors {
    const A& a;
    const B& b;
};
template <class A, class B>
Factors<A, B> times(const A& a, const B& b) {
    return {a, b};
}

/// y += Σ a · b for matrices in memory of one 16-bit scalar, computed in float, of bfloat16 as its attention is, and
/// rounded once, at the end, if y is not of float itself: a sum that is kept in 16 bits stands still as soon as its
/// terms are less than half of its last digit. 180 KB of stack. Threads share it.
template <class Y, class A, class B, class... More>
void add_products_rounded_once(Y& y, const ExecutorRef& executor, const Factors<A, B>& product, const More&... more) {
    using X = typename A::Scalar;
    using Tile = NarrowTile<X>;
    const Index y_row = Y::IsRowMajor ? y.outerStride() : y.innerStride(),
                y_column = Y::IsRowMajor ? y.innerStride() : y.outerStride();
    const bool turned = y_row == 1 && y_column != 1;  // what follows each other in memory stands in lanes
    const Index lines = turned ? y.cols() : y.rows(), columns = turned ? y.rows() : y.cols();
    const Index line_stride = turned ? y_column : y_row, column_stride = turned ? y_row : y_column;
    const Index blocks = (lines + Tile::high - 1) / Tile::high, panels = (columns + Tile::wide - 1) / Tile::wide;
    auto make_tile = [&](Index task, Index) {
        const Index r = task % blocks * Tile::high, l = task / blocks * Tile::wide;
        const Index rows = std::min(Tile::high, lines - r), some = std::min(Tile::wide, columns - l);
        [[maybe_unused]] const typename NarrowEngine<X>::Session session;
        Tile tile(rows, some);
        const auto at = y.data() + r * line_stride + l * column_stride;
        tile.load(at, line_stride, column_stride);
        const auto add = [&](const auto& factors) {
            const auto [left, right] = sides_of(factors.a, factors.b);
            const ProductSide<X>&of_rows = turned ? right : left, &of_columns = turned ? left : right;
            tile.add(of_rows.part(r, rows), of_columns.part(l, some), factors.a.cols());
        };
        add(product), (add(more), ...);
        tile.store(at, line_stride, column_stride);
    };
    const Index depth = (product.a.cols() + ... + more.a.cols());
    if (is_large(lines, columns, depth)) return executor.for_each(blocks * panels, make_tile);
    for (Index task = 0; task < blocks * panels; ++task) make_tile(task, 0);
}

/// So many rows are few.
inline constexpr Index most_few_rows = 8;

/// y(r, l) += c[r · lanes + l]
template <class T>
void add_tile(const T* c, Index lanes, Index rows, Index columns, T* y, Index row_stride, Index column_stride) {
    constexpr Index w = simd::width<T>;
    if (column_stride != 1 && row_stride == 1) return add_transposed(c, lanes, rows, columns, y, column_stride);
    for (Index r = 0; r < rows; ++r, c += lanes, y += row_stride) {
        if (column_stride != 1) {
            for (Index l = 0; l < columns; ++l) y[l * column_stride] += c[l];
            continue;
        }
        Index l = 0;
        for (; l + w <= columns; l += w) simd::store(y + l, simd::add(simd::load(y + l), simd::load(c + l)));
        if (l < columns)
            simd::store<T>(y + l, simd::add(simd::load(y + l, columns - l, T(0)), simd::load(c + l)), columns - l);
    }
}

/// rows · lanes of little depth, added to y, if lines stand beside each other and rows of y follow each other.
template <class T>
void add_shallow_product(const ProductSide<T>& rows, const ProductSide<T>& lanes, Index depth, T* y) {
    add_to_rows<T>({lanes.data, lanes.depth_stride, depth, lanes.lines}, rows.data, rows.lines,
                   {rows.line_stride, rows.depth_stride}, y);
}
/// The same of a few rows, if lines stand beside each other: some of the depth at a time, since short sums are more
/// exact than a long one.
template <class T>
ATTEND_NOINLINE void add_few_rows_by_lanes(const ProductSide<T>& rows, const ProductSide<T>& lanes, Index depth, T* y,
                                           Index row_stride, Index column_stride) {
    constexpr Index wide = 256, deep = 64;
    const bool streams = depth * lanes.lines > streamed_bytes / Index(sizeof(T));
    alignas(64) T sums[most_few_rows * wide];
    for (Index d = 0; d < depth; d += deep) {
        for (Index l = 0; l < lanes.lines; l += wide) {
            const Index here = std::min(wide, lanes.lines - l);
            add_rows<T>(
                {lanes.data + l + d * lanes.depth_stride, lanes.depth_stride, std::min(deep, depth - d), here, streams},
                rows.data + d * rows.depth_stride, rows.lines, {rows.line_stride, rows.depth_stride}, nullptr, sums);
            add_tile(sums, here, rows.lines, here, y + l * column_stride, row_stride, column_stride);
        }
    }
}
/// The same of a few rows that follow each other, and of lines that do along the depth, read where they are, as fast as
/// memory gives them; again some of the depth at a time.
template <class T>
ATTEND_NOINLINE void add_few_rows(const ProductSide<T>& rows, const ProductSide<T>& lines, Index depth, T* y,
                                  Index row_stride, Index column_stride, const ExecutorRef& executor) {
    constexpr Index wide = 256, deep = 64 * simd::width<T>;
    const bool streams = depth * lines.lines > streamed_bytes / Index(sizeof(T));
    auto add = [&](Index task, Index) {
        const Index l = task * wide, here = std::min(wide, lines.lines - l);
        alignas(64) T products[most_few_rows * wide], some[most_few_rows * deep];
        for (Index d = 0; d < depth; d += deep) {
            const Index count = std::min(deep, depth - d);
            for (Index i = 0; i < rows.lines; ++i) std::copy_n(rows.data + i * depth + d, count, some + i * count);
            dot_rows<T>({lines.data + l * lines.line_stride + d, lines.line_stride, here, count, streams}, some,
                        rows.lines, products, {wide, 1});
            add_tile(products, wide, rows.lines, here, y + l * column_stride, row_stride, column_stride);
        }
    };
    const Index tasks = (lines.lines + wide - 1) / wide;
    if (is_large(rows.lines, lines.lines, depth)) return executor.for_each(tasks, add);
    for (Index task = 0; task < tasks; ++task) add(task, 0);
}

/// y += a · b for matrices in memory, which must not overlap y, of one scalar type, or of 16 bits with y of float; with
/// a `start` y = start + a · b. 2 · rows · depth · columns operations, 140 KB of stack, and nothing from the heap. Of
/// more than a few rows, columns and features, the bits of an element depend on its row and column alone; few go ways
/// of their own, by how the matrices stand in memory. Threads change none. 16-bit scalars are computed in float and
/// rounded once.
template <class Y, class A, class B>
void add_product(Y& y, const A& a, const B& b, const ExecutorRef& executor = serial,
                 const ProductStart<typename Y::Scalar>& start = {}) {
    using T = typename Y::Scalar;
    using X = typename A::Scalar;
    static_assert(std::is_same_v<X, typename B::Scalar> && (std::is_same_v<T, X> || std::is_same_v<T, Compute<X>>));
    if constexpr (!std::is_same_v<X, Compute<X>>) {
        start.write(y);
        add_products_rounded_once(y, executor, times(a, b));
    } else {
        if (y.size() == 0 || a.cols() == 0) return start.write(y);  // there may be no memory to point into
        const auto strides = [](const auto& x) {
            return x.IsRowMajor ? std::pair(x.outerStride(), x.innerStride())
                                : std::pair(x.innerStride(), x.outerStride());
        };
        const auto [y_row, y_column] = strides(y);
        const auto [a_row, a_column] = strides(a);
        const auto [b_row, b_column] = strides(b);
        const ProductSide<T> left{a.data(), a.rows(), a_row, a_column}, right{b.data(), b.cols(), b_column, b_row};
        constexpr bool packets = simd::width<T> > 1;
        const bool shallow_rows = b_column == 1 && y_column == 1 && y_row == b.cols(),
                   shallow_columns = a_row == 1 && y_row == 1 && y_column == a.rows();
        if (packets && a.cols() <= most_few_rows && (shallow_rows || shallow_columns)) {
            start.write(y);
            return shallow_rows ? add_shallow_product(left, right, a.cols(), y.data())
                                : add_shallow_product(right, left, a.cols(), y.data());
        }
        const bool along_depth = b_row == 1 && a_column == 1 && a_row == a.cols();
        if (packets && a.rows() <= most_few_rows && (along_depth || b_column == 1)) {
            start.write(y);
            return along_depth ? add_few_rows(left, right, a.cols(), y.data(), y_row, y_column, executor)
                               : add_few_rows_by_lanes(left, right, a.cols(), y.data(), y_row, y_column);
        }
        // Lanes that follow each other in memory are packed fast, and added to where they belong if y's do too. Else
        // what is broadcast is read best along its depth, and of two such sides the shorter one is packed.
        const bool lanes_follow = b_column == 1 && y_column == 1;
        const bool rows_in_lanes = !lanes_follow && (a_column != 1 || (b_row == 1 && 3 * a.rows() < b.cols()));
        const auto add = [&](const ProductSide<T>& rows, const ProductSide<T>& lanes, const ProductSums<T>& sums) {
            share_panels(rows, lanes.lines, a.cols(), executor, [&](const ProductSide<T>& some, Index first, Index l) {
                add_unpacked_panel<T>(some, lanes.part(l, lanes.lines - l), a.cols(), sums.from(first, l));
            });
        };
        const ProductSums<T> sums(y.data(), y_row, y_column, start);
        rows_in_lanes ? add(right, left, sums.transposed()) : add(left, right, sums);
    }
}

/// y += Σ a · b, one product after the other: `add_products(y, executor, times(a, b), times(c, d))`.
template <class Y, class... A, class... B>
void add_products(Y& y, const ExecutorRef& executor, const Factors<A, B>&... products) {
    if constexpr (std::is_same_v<typename Y::Scalar, Compute<typename Y::Scalar>>) {
        (add_product(y, products.a, products.b, executor), ...);
    } else {
        add_products_rounded_once(y, executor, products...);
    }
}

}  // namespace attend::detail

#pragma once
/// \file
/// Matrix products that take nothing from the heap.

#include <algorithm>
#include <type_traits>
#include <utility>

#include <attend/core/executor.hpp>
#include <attend/core/row_lanes.hpp>
#include <attend/core/transposed.hpp>
#include <attend/core/types.hpp>
#include <attend/engine/packets.hpp>
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

/// y += Σ a · b of 16-bit scalars, computed in float and rounded once, at the end, if y is not of float itself: a sum
/// that is kept in 16 bits stands still as soon as its terms are less than half of its last digit. 192 KB of stack.
template <class Y, class... A, class... B>
void add_products_rounded_once(Y& y, const Factors<A, B>&... products) {
    using T = typename Y::Scalar;
    using C = Compute<T>;
    static_assert((std::is_same_v<C, Compute<typename A::Scalar>> && ...) &&
                  (std::is_same_v<C, Compute<typename B::Scalar>> && ...));
    constexpr int side = 128, depth = 64;
    Eigen::Matrix<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, side, side> sum;
    Eigen::Matrix<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, side, depth> left;
    Eigen::Matrix<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, depth, side> right;
    for (Index j = 0; j < y.cols(); j += side) {
        const Index wide = std::min<Index>(side, y.cols() - j);
        for (Index i = 0; i < y.rows(); i += side) {
            const Index high = std::min<Index>(side, y.rows() - i);
            sum = y.block(i, j, high, wide).template cast<C>();
            const auto add = [&](const auto& a, const auto& b) {
                for (Index l = 0; l < a.cols(); l += depth) {
                    const Index deep = std::min<Index>(depth, a.cols() - l);
                    left = a.block(i, l, high, deep).template cast<C>();
                    right = b.block(l, j, deep, wide).template cast<C>();
                    sum.noalias() += left * right;
                }
            };
            (add(products.a, products.b), ...);
            y.block(i, j, high, wide) = sum.template cast<T>();
        }
    }
}

/// So many rows are few.
inline constexpr Index most_few_rows = 8;

/// Whether a product takes longer than it takes to wake the threads that could share it.
constexpr bool is_large(Index rows, Index columns, Index depth) {
    return static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(depth) > 1 << 20;
}

/// One side of a product: `lines` rows of the left factor, or columns of the right one, through their strides.
template <class T>
struct ProductSide {
    const T* data;
    Index lines, line_stride, depth_stride;
};

/// Lines in lanes: to[d · lanes + i] is element d of line i; lanes behind the lines are 0.
template <class T>
void lines_to_lanes(const ProductSide<T>& x, Index depth, T* to, Index lanes) {
    if (x.depth_stride == 1) return rows_to_lanes(x.data, x.line_stride, x.lines, depth, T(1), to, lanes);
    for (Index d = 0; d < depth; ++d, to += lanes) {
        const T* const from = x.data + d * x.depth_stride;
        if (x.line_stride == 1) {
            std::copy_n(from, x.lines, to);
        } else {
            for (Index i = 0; i < x.lines; ++i) to[i] = from[i * x.line_stride];
        }
        std::fill(to + x.lines, to + lanes, T(0));
    }
}

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

/// c[r · lanes + l] = y(r, l)
template <class T>
void load_tile(const T* y, Index row_stride, Index column_stride, Index rows, Index columns, T* c, Index lanes) {
    if (column_stride != 1 && row_stride == 1) return transpose_into(y, column_stride, columns, rows, c, lanes);
    for (Index r = 0; r < rows; ++r, c += lanes, y += row_stride) {
        for (Index l = 0; l < columns; ++l) c[l] = y[l * column_stride];
    }
}
/// The way back.
template <class T>
void store_tile(const T* c, Index lanes, Index rows, Index columns, T* y, Index row_stride, Index column_stride) {
    if (column_stride != 1 && row_stride == 1) return transpose_into(c, lanes, rows, columns, y, column_stride);
    for (Index r = 0; r < rows; ++r, c += lanes, y += row_stride) {
        for (Index l = 0; l < columns; ++l) y[l * column_stride] = c[l];
    }
}

/// A panel of lanes, packed: `depth` × `lanes`, whole packets, of which `columns` are of use.
template <class T>
struct Panel {
    static constexpr Index wide = Registers<T>::vectors * simd::width<T>;

    const T* data;
    Index depth, lanes, columns;
};

/// y(r, l) += Σ_d rows(r, d) · panel(d, l), to the same bits wherever y stands.
template <class T>
ATTEND_NOINLINE void add_panel(const ProductSide<T>& rows, const Panel<T>& panel, T* y, Index row_stride,
                               Index column_stride) {
    // So much of the panel stays in the first level of the cache.
    constexpr Index wide = Panel<T>::wide, stage = 512 / sizeof(T), high = 48;
    const bool in_place = column_stride == 1 && panel.columns == panel.lanes;
    alignas(64) T c[high * wide], ones[wide];
    std::fill_n(ones, wide, T(1));
    if (!in_place) std::fill_n(c, high * wide, T(0));  // in lanes behind the last
    for (Index r = 0; r < rows.lines; r += high) {
        const Index count = std::min(high, rows.lines - r);
        T* const at = y + r * row_stride;
        if (!in_place) load_tile(at, row_stride, column_stride, count, panel.columns, c, panel.lanes);
        for (Index d = 0; d < panel.depth; d += stage) {
            multiply<T>({rows.data + r * rows.line_stride + d * rows.depth_stride, rows.line_stride, rows.depth_stride},
                        count, std::min(stage, panel.depth - d), panel.data + d * panel.lanes, panel.lanes, panel.lanes,
                        in_place ? at : c, in_place ? row_stride : panel.lanes, {.factor = ones});
        }
        if (!in_place) store_tile(c, panel.lanes, count, panel.columns, at, row_stride, column_stride);
    }
}

/// The same of a panel that is not packed yet: the lines of `lanes`, at most `wide`.
template <class T>
ATTEND_NOINLINE void add_unpacked_panel(const ProductSide<T>& rows, const ProductSide<T>& lanes, Index depth, T* y,
                                        Index row_stride, Index column_stride) {
    constexpr Index deep = 2048 / sizeof(T);
    alignas(64) T packed[deep * Panel<T>::wide];
    const Index padded = simd::padded<T>(lanes.lines);
    for (Index d = 0; d < depth; d += deep) {
        const Index here = std::min(deep, depth - d);
        lines_to_lanes<T>({lanes.data + d * lanes.depth_stride, lanes.lines, lanes.line_stride, lanes.depth_stride},
                          here, packed, padded);
        add_panel<T>({rows.data + d * rows.depth_stride, rows.lines, rows.line_stride, rows.depth_stride},
                     {packed, here, padded, lanes.lines}, y, row_stride, column_stride);
    }
}

/// Calls `f(some of the rows, the first of them, panel)` for all rows and panels, by their first columns: the
/// executor's workers share these where that is worth their waking.
template <class T, class F>
void share_panels(const ProductSide<T>& rows, Index columns, Index depth, const ExecutorRef& executor, F&& f) {
    constexpr Index wide = Panel<T>::wide, high = 192;
    const Index workers = is_large(rows.lines, columns, depth) ? executor.concurrency() : 1;
    if (workers == 1) {
        for (Index l = 0; l < columns; l += wide) f(rows, Index(0), l);
        return;
    }
    const Index panels = (columns + wide - 1) / wide, most = (rows.lines + high - 1) / high,
                groups = std::clamp<Index>((2 * workers + panels - 1) / panels, 1, most),
                tall = (most + groups - 1) / groups * high;
    executor.for_each(panels * groups, [&](Index task, Index) {
        const Index l = task / groups * wide, r = task % groups * tall;
        if (r >= rows.lines) return;
        f(ProductSide<T>{rows.data + r * rows.line_stride, std::min(tall, rows.lines - r), rows.line_stride,
                         rows.depth_stride},
          r, l);
    });
}

/// The same of little depth, if lines stand beside each other and rows of y follow each other.
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

/// y += a · b for matrices in memory, which must not overlap y, of one scalar type, or of 16 bits with y of float. 2 ·
/// rows · depth · columns operations, 140 KB of stack, and nothing from the heap. Of more than a few rows, columns and
/// features, the bits of an element depend on its row and column alone; few go ways of their own, by how the matrices
/// stand in memory. Threads change none. 16-bit scalars are computed in float and rounded once.
template <class Y, class A, class B>
void add_product(Y& y, const A& a, const B& b, const ExecutorRef& executor = serial) {
    using T = typename Y::Scalar;
    using X = typename A::Scalar;
    static_assert(std::is_same_v<X, typename B::Scalar> && (std::is_same_v<T, X> || std::is_same_v<T, Compute<X>>));
    if constexpr (!std::is_same_v<X, Compute<X>>) {
        add_products_rounded_once(y, times(a, b));
    } else {
        if (y.size() == 0 || a.cols() == 0) return;  // there may be no memory to point into
        const auto strides = [](const auto& x) {
            return x.IsRowMajor ? std::pair(x.outerStride(), x.innerStride())
                                : std::pair(x.innerStride(), x.outerStride());
        };
        const auto [y_row, y_column] = strides(y);
        const auto [a_row, a_column] = strides(a);
        const auto [b_row, b_column] = strides(b);
        const ProductSide<T> left{a.data(), a.rows(), a_row, a_column}, right{b.data(), b.cols(), b_column, b_row};
        constexpr bool packets = simd::width<T> > 1;
        if (packets && a.cols() <= most_few_rows) {
            if (b_column == 1 && y_column == 1 && y_row == b.cols())
                return add_shallow_product(left, right, a.cols(), y.data());
            if (a_row == 1 && y_row == 1 && y_column == a.rows())
                return add_shallow_product(right, left, a.cols(), y.data());
        }
        if (packets && a.rows() <= most_few_rows && b_row == 1 && a_column == 1 && a_row == a.cols())
            return add_few_rows(left, right, a.cols(), y.data(), y_row, y_column, executor);
        if (packets && a.rows() <= most_few_rows && b_column == 1)
            return add_few_rows_by_lanes(left, right, a.cols(), y.data(), y_row, y_column);
        // What is broadcast is read best along its depth; of two such sides, the shorter one is packed.
        const bool rows_in_lanes = a_column != 1 || (b_row == 1 && 3 * a.rows() < b.cols());
        const auto add = [&](const ProductSide<T>& rows, const ProductSide<T>& lanes, Index row_stride,
                             Index column_stride) {
            share_panels(rows, lanes.lines, a.cols(), executor, [&](const ProductSide<T>& some, Index first, Index l) {
                add_unpacked_panel<T>(some,
                                      {lanes.data + l * lanes.line_stride, std::min(Panel<T>::wide, lanes.lines - l),
                                       lanes.line_stride, lanes.depth_stride},
                                      a.cols(), y.data() + first * row_stride + l * column_stride, row_stride,
                                      column_stride);
            });
        };
        rows_in_lanes ? add(right, left, y_column, y_row) : add(left, right, y_row, y_column);
    }
}

/// y += Σ a · b, one product after the other: `add_products(y, executor, times(a, b), times(c, d))`.
template <class Y, class... A, class... B>
void add_products(Y& y, const ExecutorRef& executor, const Factors<A, B>&... products) {
    if constexpr (std::is_same_v<typename Y::Scalar, Compute<typename Y::Scalar>>) {
        (add_product(y, products.a, products.b, executor), ...);
    } else {
        add_products_rounded_once(y, products...);
    }
}

}  // namespace attend::detail

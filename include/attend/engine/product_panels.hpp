#pragma once
/// \file
/// Products by panels: some lanes of one side are packed, and all rows of the other multiplied by them.

#include <algorithm>
#include <utility>

#include <attend/core/executor.hpp>
#include <attend/core/read_ahead.hpp>
#include <attend/core/row_lanes.hpp>
#include <attend/core/transposed.hpp>
#include <attend/core/types.hpp>
#include <attend/core/view.hpp>
#include <attend/engine/packets.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Whether a product takes longer than it takes to wake the threads that could share it.
constexpr bool is_large(Index rows, Index columns, Index depth) {
    return static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(depth) > 1 << 20;
}

/// One side of a product: `lines` rows of the left factor, or columns of the right one, through their strides.
template <class T>
struct ProductSide {
    const T* data;
    Index lines, line_stride, depth_stride;

    /// Some of the lines.
    ProductSide part(Index first, Index count) const {
        return {data + first * line_stride, count, line_stride, depth_stride};
    }
    /// All from that depth on.
    ProductSide from_depth(Index d) const { return {data + d * depth_stride, lines, line_stride, depth_stride}; }
    /// So much of the depth of all, line by line.
    Slice<const T> slice(Index depth) const { return {data, lines, depth, {line_stride, depth_stride}}; }
};

/// A few packets of numbers, for less than the library of C takes to be asked.
template <class T>
void copy_few(const T* from, Index count, T* to) {
    Index i = 0;
    for (; i + simd::width<T> <= count; i += simd::width<T>) simd::store(to + i, simd::load(from + i));
    for (; i < count; ++i) to[i] = from[i];
}

/// Lines in lanes: to[d · lanes + i] is element d of line i; lanes behind the lines are 0.
template <class T>
void lines_to_lanes(const ProductSide<T>& x, Index depth, T* to, Index lanes) {
    if (x.depth_stride == 1) return rows_to_lanes(x.data, x.line_stride, x.lines, depth, T(1), to, lanes);
    for (Index d = 0; d < depth; ++d, to += lanes) {
        const T* const from = x.data + d * x.depth_stride;
        if (x.line_stride == 1) {
            copy_few(from, x.lines, to);
        } else {
            for (Index i = 0; i < x.lines; ++i) to[i] = from[i * x.line_stride];
        }
        std::fill(to + x.lines, to + lanes, T(0));
    }
}

/// c[r · lanes + l] = y(r, l), whose strides may be 0.
template <class T>
void load_tile(const T* y, Index row_stride, Index column_stride, Index rows, Index columns, T* c, Index lanes) {
    if (column_stride > 1 && row_stride == 1) return transpose_into(y, column_stride, columns, rows, c, lanes);
    for (Index r = 0; r < rows; ++r, c += lanes, y += row_stride) {
        if (column_stride == 1) {
            copy_few(y, columns, c);
        } else if (column_stride == 0) {
            std::fill_n(c, columns, *y);
        } else {
            for (Index l = 0; l < columns; ++l) c[l] = y[l * column_stride];
        }
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

/// What the sums of a product start from: what stands in y, or for each of its columns a number.
template <class T>
struct ProductStart {
    const T* by_column = nullptr;  ///< none: y
    Index stride = 1;              ///< 0: one number for all

    /// All sums from 0.
    static ProductStart zero() {
        static constexpr T none{};
        return {&none, 0};
    }
    /// y = start, where there is one.
    template <class Y>
    void write(Y& y) const {
        if (by_column == nullptr) return;
        if (stride == 0) {
            y.setConstant(*by_column);
        } else if constexpr (Y::IsRowMajor) {  // line by line: replicated as one expression it is read scalar by scalar
            const Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>> row(by_column, y.cols());
            for (Index i = 0; i < y.rows(); ++i) y.row(i) = row;
        } else {
            for (Index j = 0; j < y.cols(); ++j) y.col(j).setConstant(by_column[j]);
        }
    }
};

/// The sums of a product, y(r, l), through its strides; what they start from likewise, by strides that may be 0.
template <class T>
struct ProductSums {
    T* y;
    Index row_stride, column_stride;
    const T* start;
    Index start_row, start_column;

    ProductSums(T* y_, Index row, Index column, const ProductStart<T>& from)
        : y(y_), row_stride(row), column_stride(column), start(y_), start_row(row), start_column(column) {
        if (from.by_column != nullptr) start = from.by_column, start_row = 0, start_column = from.stride;
    }

    ProductSums from(Index r, Index l) const {
        ProductSums part = *this;
        part.y += r * row_stride + l * column_stride;
        part.start += r * start_row + l * start_column;
        return part;
    }
    ProductSums transposed() const {
        ProductSums turned = *this;
        std::swap(turned.row_stride, turned.column_stride);
        std::swap(turned.start_row, turned.start_column);
        return turned;
    }
    /// The same, when something has been added.
    ProductSums begun() const { return {y, row_stride, column_stride, {}}; }

    void load(Index rows, Index columns, T* c, Index lanes) const {
        load_tile(start, start_row, start_column, rows, columns, c, lanes);
    }
    void store(const T* c, Index lanes, Index rows, Index columns) const {
        store_tile(c, lanes, rows, columns, y, row_stride, column_stride);
    }
};

/// A panel of lanes, packed: `depth` × `lanes`, whole packets, of which `columns` are of use.
template <class T>
struct Panel {
    static constexpr Index wide = Registers<T>::vectors * simd::width<T>;
    static constexpr Index stage = 512 / sizeof(T);  ///< so much of the depth stays in the first level of the cache

    const T* data;
    Index depth, lanes, columns;

    /// Whether its sums can be added where they belong.
    bool fits(const ProductSums<T>& y) const { return y.column_stride == 1 && columns == lanes; }
};

/// y(r, l) = start(r, l) + Σ_d rows(r, d) · panel(d, l), to the same bits wherever y stands.
template <class T>
ATTEND_NOINLINE void add_panel(const ProductSide<T>& rows, const Panel<T>& panel, const ProductSums<T>& y,
                               ReadAhead* ahead = nullptr) {
    constexpr Index wide = Panel<T>::wide, stage = Panel<T>::stage, high = 48;
    alignas(64) T ones[wide];
    std::fill_n(ones, wide, T(1));
    const auto add = [&](Index r, Index count, Index d, T* to, Index apart, const T* start = nullptr) {
        multiply<T>({rows.data + r * rows.line_stride + d * rows.depth_stride, rows.line_stride, rows.depth_stride},
                    count, std::min(stage, panel.depth - d), panel.data + d * panel.lanes, panel.lanes, panel.lanes, to,
                    apart, {.factor = ones, .start = start, .ahead = ahead});
    };
    if (panel.fits(y)) {
        alignas(64) T start[wide];
        const bool by_lane = y.start != y.y && y.start_row == 0;
        if (by_lane) load_tile<T>(y.start, 0, y.start_column, 1, panel.columns, start, panel.lanes);
        // While a stage is at hand it meets all rows, but for so many that their sums would leave the cache.
        constexpr Index at_hand = 192;
        for (Index first = 0; first < rows.lines; first += at_hand) {
            const Index end = std::min(first + at_hand, rows.lines);
            for (Index d = 0; d < panel.depth; d += stage) {
                for (Index r = first; r < end; r += high) {
                    const Index count = std::min(high, end - r);
                    const ProductSums<T> part = y.from(r, 0);
                    const bool starts = d == 0 && part.start != part.y;
                    if (starts && !by_lane) part.load(count, panel.columns, part.y, y.row_stride);
                    add(r, count, d, part.y, y.row_stride, starts && by_lane ? start : nullptr);
                }
            }
        }
        return;
    }
    alignas(64) T c[high * wide];
    std::fill_n(c, high * wide, T(0));  // in lanes behind the last
    for (Index r = 0; r < rows.lines; r += high) {
        const Index count = std::min(high, rows.lines - r);
        y.from(r, 0).load(count, panel.columns, c, panel.lanes);
        for (Index d = 0; d < panel.depth; d += stage) add(r, count, d, c, panel.lanes);
        y.from(r, 0).store(c, panel.lanes, count, panel.columns);
    }
}

/// The same of the first of these lanes, which are not packed yet, as many as fit into a panel. While they are
/// multiplied the processor is asked for those that are packed next, whose lines it would not see coming.
template <class T>
ATTEND_NOINLINE void add_unpacked_panel(const ProductSide<T>& rows, const ProductSide<T>& lanes, Index depth,
                                        ProductSums<T> y) {
    constexpr Index most = 2048 / sizeof(T);
    alignas(64) T packed[most * Panel<T>::wide];
    const ProductSide<T> here = lanes.part(0, std::min(Panel<T>::wide, lanes.lines)),
                         next = lanes.part(here.lines, std::min(Panel<T>::wide, lanes.lines - here.lines));
    Panel<T> panel{packed, depth, simd::padded<T>(here.lines), here.lines};
    const Index deep = panel.fits(y) ? Panel<T>::stage : most;
    ReadAhead ahead;
    for (Index d = 0; d < depth; d += deep) {
        panel.depth = std::min(deep, depth - d);
        lines_to_lanes<T>(here.from_depth(d), panel.depth, packed, panel.lanes);
        const Index left = depth - d - panel.depth;
        ahead.soon(left > 0 ? here.from_depth(d + deep).slice(std::min(deep, left))
                            : next.slice(std::min(deep, depth)));
        add_panel<T>(rows.from_depth(d), panel, y, &ahead);
        y = y.begun();
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

}  // namespace attend::detail

#pragma once
/// \file
/// Rotary position embedding.

#include <cmath>
#include <limits>
#include <utility>

#include <attend/core/overlap.hpp>
#include <attend/core/positions.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI {

/// Which two features of a head turn together: (i, i + width/2), or (2i, 2i + 1).
enum class RopeLayout { half_split, interleaved };

namespace detail {

inline void check_rope_width(Index width, Index columns) {
    require(width >= 0 && width <= columns && width % 2 == 0, "rope: the width must be even and at most the ", columns,
            " columns of a head, got ", width);
}

/// Turns the first `width` features of every row of every head, in place: pair (a, b) ↦ (a cos − b sin, a sin + b cos),
/// with `angle(sequence, row, pair)` giving (cos, sin).
template <class T, class Angle>
void rotate_pairs(const StridedView<T>& x, Index width, RopeLayout layout, const Angle& angle) {
    using C = Compute<T>;
    check_rope_width(width, x.columns);
    require(x.sequences >= 0 && x.heads >= 0 && x.rows >= 0, "rope: x (",
            shape_words(x.sequences, x.heads, x.rows, x.columns), ") has a negative size");
    if (is_empty(x)) return;
    require(x.data != nullptr, "rope: x has no memory: its pointer is null");
    require(!may_repeat(x), "rope: x (", shape_words(x.sequences, x.heads, x.rows, x.columns),
            ") overlaps itself: by its strides two of its elements are one");
    const Index half = width / 2;
    for (Index sequence = 0; sequence < x.sequences; ++sequence) {
        for (Index row = 0; row < x.rows; ++row) {
            T* const start = x.data + sequence * x.sequence_stride + row * x.row_stride;
            for (Index pair = 0; pair < half; ++pair) {
                const std::pair<C, C> turn = angle(sequence, row, pair);
                T* const first = start + (layout == RopeLayout::half_split ? pair : 2 * pair) * x.column_stride;
                T* const second =
                    start + (layout == RopeLayout::half_split ? pair + half : 2 * pair + 1) * x.column_stride;
                for (Index head = 0; head < x.heads; ++head) {  // innermost: an angle serves all heads
                    const C a = static_cast<C>(first[head * x.head_stride]),
                            b = static_cast<C>(second[head * x.head_stride]);
                    first[head * x.head_stride] = static_cast<T>(a * turn.first - b * turn.second);
                    second[head * x.head_stride] = static_cast<T>(a * turn.second + b * turn.first);
                }
            }
        }
    }
}

}  // namespace detail

/// RoPE (Su et al. 2021): turns pairs of features by an angle that grows with the position, so that q · k depends on
/// the distance alone. For queries and keys, head by head, before attention. A rotation's gradient is its inverse.
/// O(rows · width) sines and cosines.
struct Rope {
    RopeLayout layout = RopeLayout::half_split;
    Index width = 0;        ///< how many features of a head turn, an even number; 0: all. The rest pass unchanged.
    double base = 10000.0;  ///< pair i turns by position · base^{−2i/width}

    /// Throws unless heads of `columns` features can turn: the width must be even and fit, the base be a number above
    /// 0.
    void check(Index columns) const {
        detail::check_rope_width(width == 0 ? columns : width, columns);
        detail::require(base > 0 && base <= std::numeric_limits<double>::max(),
                        "rope: the base must be a number above 0, got ", base);
    }
    /// Turns `x` in place: a matrix, `heads(x, n)` or any strided view. Row i of every sequence stands at position
    /// `offset + i`. Throws unless the width is even and fits, and the offset lies within ±2^53.
    template <class X>
    void operator()(X&& x, Index offset = 0) const {
        turn(detail::in_place(x), offset, 1.0);
    }
    /// Turns back: makes of dy, the gradient behind the rotation, the one before it.
    template <class X>
    void inverse(X&& x, Index offset = 0) const {
        turn(detail::in_place(x), offset, -1.0);
    }

private:
    template <class T>
    void turn(const StridedView<T>& x, Index offset, double sense) const {
        using C = Compute<T>;
        check(x.columns);
        detail::check_position("rope: the offset", offset);
        const Index turned = width == 0 ? x.columns : width;
        const double step = -2.0 * std::log(base) / static_cast<double>(turned);
        detail::rotate_pairs(x, turned, layout, [&](Index, Index row, Index pair) {
            const double angle = static_cast<double>(offset + row) * std::exp(step * static_cast<double>(pair));
            return std::pair(static_cast<C>(std::cos(angle)), static_cast<C>(sense * std::sin(angle)));
        });
    }
};

/// Turns `x` in place by given angles: row i by `cosines(i, pair)` and `sines(i, pair)`, both rows × width/2. For
/// models whose tables follow another rule than `Rope`'s. Throws where the shapes do not fit.
template <class X, class Cosines, class Sines>
void rotate(X&& x, const Eigen::DenseBase<Cosines>& cosines, const Eigen::DenseBase<Sines>& sines, RopeLayout layout) {
    const auto view = detail::in_place(x);
    detail::require(cosines.rows() == view.rows && sines.rows() == view.rows && cosines.cols() == sines.cols(),
                    detail::named("cosines", cosines.rows(), cosines.cols()), " and ",
                    detail::named("sines", sines.rows(), sines.cols()), " must have a row for each of the ", view.rows,
                    " rows of x, and a column for each pair");
    using C = Compute<std::remove_pointer_t<decltype(view.data)>>;
    detail::rotate_pairs(view, 2 * cosines.cols(), layout, [&](Index, Index row, Index pair) {
        return std::pair(static_cast<C>(cosines.derived().coeff(row, pair)),
                         static_cast<C>(sines.derived().coeff(row, pair)));
    });
}

}  // namespace attend

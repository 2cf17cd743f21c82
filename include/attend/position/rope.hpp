#pragma once
/// \file
/// Rotary position embedding.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <attend/core/overlap.hpp>
#include <attend/core/positions.hpp>
#include <attend/core/view.hpp>
#include <attend/position/frequencies.hpp>

namespace attend::inline ATTEND_ABI {

/// Which two features of a head turn together.
enum class RopeLayout {
    half_split,  ///< (i, i + width/2)
    interleaved  ///< (2i, 2i + 1)
};

namespace detail {

inline void check_rope_width(Index width, Index columns) {
    require(width >= 0 && width <= columns && width % 2 == 0, "rope: the width must be even and at most the ", columns,
            " columns of a head, got ", width);
}

/// Turns the first `width` features of every row of every head, in place: pair (a, b) ↦ (a cos − b sin, a sin + b cos),
/// with `turns(pair)(row)` giving (cos, sin) in every sequence.
template <class T, class Turns>
void rotate_pairs(const StridedView<T>& x, Index width, RopeLayout layout, const Turns& turns) {
    using C = Compute<T>;
    check_rope_width(width, x.columns);
    require(x.sequences >= 0 && x.heads >= 0 && x.rows >= 0, "rope: x (",
            shape_words(x.sequences, x.heads, x.rows, x.columns), ") has a negative size");
    if (is_empty(x)) return;
    require(x.data != nullptr, "rope: x has no memory: its pointer is null");
    require(!may_repeat(x), "rope: x (", shape_words(x.sequences, x.heads, x.rows, x.columns),
            ") overlaps itself: by its strides two of its elements are one");
    const Index half = width / 2;
    constexpr Index at_once = 16;  // rows, which a pair's frequency is found once for, and which stay in the cache
    for (Index begin = 0; begin < x.rows; begin += at_once) {
        const Index end = std::min(x.rows, begin + at_once);
        for (Index pair = 0; pair < half; ++pair) {
            const auto turn_at = turns(pair);
            const Index first = layout == RopeLayout::half_split ? pair : 2 * pair,
                        second = layout == RopeLayout::half_split ? pair + half : 2 * pair + 1;
            for (Index row = begin; row < end; ++row) {
                const std::pair<C, C> turn = turn_at(row);
                for (Index sequence = 0; sequence < x.sequences; ++sequence) {
                    T* const start = x.data + sequence * x.sequence_stride + row * x.row_stride;
                    for (Index head = 0; head < x.heads; ++head) {  // innermost: an angle serves all heads
                        T& to_a = start[head * x.head_stride + first * x.column_stride];
                        T& to_b = start[head * x.head_stride + second * x.column_stride];
                        const C a = static_cast<C>(to_a), b = static_cast<C>(to_b);
                        to_a = static_cast<T>(a * turn.first - b * turn.second);
                        to_b = static_cast<T>(a * turn.second + b * turn.first);
                    }
                }
            }
        }
    }
}

}  // namespace detail

/// RoPE (Su et al. 2021): turns pairs of features by an angle that grows with the position, so that q · k depends on
/// the distance alone. For queries and keys, head by head, before attention. A rotation's gradient is its inverse.
/// O(rows · width) sines and cosines.
///
/// Longer contexts than a model was trained on take other frequencies, which `linear`, `ntk`, `yarn` and `llama3` make;
/// any others may be assigned. Llama 3.1: `Rope::llama3(128, {.factor = 8, .original = 8192, .low = 1, .high = 4},
/// 500000)`, which are the defaults.
struct Rope {
    RopeLayout layout = RopeLayout::half_split;  ///< which features turn together
    Index width = 0;        ///< how many features of a head turn, an even number; 0: all. The rest pass unchanged.
    double base = 10000.0;  ///< pair i turns by position · base^{−2i/width}
    std::vector<double> frequencies = {};  ///< or, if given, by position · frequencies[i]
    double magnitude = 1;                  ///< and is multiplied by this (YaRN's attention factor)
    /// Where tokens stand, a row for each, from position 0 on; empty: token i at i. Of several columns, such as row and
    /// column of a picture's patches, each turns its share of the pairs: the first of n the first width / 2n of them,
    /// each share by frequencies base^{−2ni/width}.
    RowMatrix<double> positions = {};

    auto spelled(const auto& say) const {
        const Rope usual;
        return say.record("Rope", say.field(layout != usual.layout, "layout", "RopeLayout::interleaved"),
                          say.field(width != usual.width, "width", width), say.field(base != usual.base, "base", base),
                          say.field(!frequencies.empty(), "frequencies", frequencies),
                          say.field(magnitude != usual.magnitude, "magnitude", magnitude),
                          say.field(positions.size() > 0, "positions", positions));
    }

    /// Position interpolation (Chen et al. 2023): every frequency divided by the factor.
    static Rope linear(Index width, double factor, double base = 10000.0) {
        return {.width = width, .base = base, .frequencies = detail::linear_frequencies(width, factor, base)};
    }
    /// NTK-aware interpolation (bloc97 2023): the base times factor^{width / (width − 2)}, so that the lowest frequency
    /// is divided by the factor, and the highest stays.
    static Rope ntk(Index width, double factor, double base = 10000.0) {
        return {.width = width, .base = detail::ntk_base(width, factor, base)};
    }
    /// YaRN (Peng et al. 2023), with its attention factor 0.1 ln(factor) + 1 as the magnitude of queries and of keys.
    static Rope yarn(Index width, const Yarn& by, double base = 10000.0) {
        return {.width = width,
                .base = base,
                .frequencies = detail::yarn_frequencies(width, by, base),
                .magnitude = by.factor > 1 ? 0.1 * std::log(by.factor) + 1 : 1};
    }
    /// The bands of Llama 3.1 and later (Grattafiori et al. 2024).
    static Rope llama3(Index width, const Llama3& by = {}, double base = 500000.0) {
        return {.width = width, .base = base, .frequencies = detail::llama3_frequencies(width, by, base)};
    }

    /// Throws unless heads of `columns` features can turn: the width must be even and fit, the base be a number above
    /// 0, and what else is given fit the pairs.
    void check(Index columns) const { check(columns, positions.size() == 0 ? 1 : positions.cols()); }
    /// Throws unless tokens from `offset` on stand somewhere.
    void check_tokens(Index offset, Index rows) const {
        detail::check_position("rope: the offset", offset);
        if (positions.size() == 0 || rows == 0) return;
        detail::require(offset >= 0 && rows <= positions.rows() - offset,
                        "rope: ", detail::named("positions", positions.rows(), positions.cols()),
                        " must have rows for tokens ", offset, " to ", offset + rows - 1);
    }

    /// Turns `x` in place: a matrix, `heads(x, n)` or any strided view. Row i of every sequence stands at position
    /// `offset + i`. Throws unless the width is even and fits, and the offset lies within ±2^53.
    template <class X>
    void operator()(X&& x, Index offset = 0) const {
        turn_from(detail::in_place(x), offset, 1.0);
    }
    /// Turns back: makes of dy, the gradient behind the rotation, the one before it. (So it too multiplies by the
    /// magnitude.)
    template <class X>
    void inverse(X&& x, Index offset = 0) const {
        turn_from(detail::in_place(x), offset, -1.0);
    }
    /// The same where row i of every sequence stands at row i of `where`, rows × axes, of any numbers: positions of
    /// this call, in place of the value's own. Throws unless there is a row for each of x.
    /// @{
    template <class X, class P>
    void operator()(X&& x, const Eigen::DenseBase<P>& where) const {
        turn_at(detail::in_place(x), where, 1.0);
    }
    template <class X, class P>
    void inverse(X&& x, const Eigen::DenseBase<P>& where) const {
        turn_at(detail::in_place(x), where, -1.0);
    }
    /// @}

private:
    void check(Index columns, Index axes) const {
        const Index turned = width == 0 ? columns : width;
        detail::check_rope_width(turned, columns);
        detail::require(base > 0 && is_finite(base), "rope: the base must be a number above 0, got ", base);
        detail::require(is_finite(magnitude), "rope: the magnitude must be a number, got ", magnitude);
        detail::require(frequencies.empty() || std::ssize(frequencies) == turned / 2, "rope: ", frequencies.size(),
                        " frequencies for ", turned / 2, " pairs of features");
        detail::require(axes > 0 && turned / 2 % axes == 0, "rope: positions on ", axes, " axes must share the ",
                        turned / 2, " pairs of features evenly");
    }
    static bool is_finite(double x) { return std::abs(x) <= std::numeric_limits<double>::max(); }

    template <class T>
    void turn_from(const StridedView<T>& x, Index offset, double sense) const {
        check(x.columns);
        check_tokens(offset, x.rows);
        if (positions.size() == 0) {
            turn(x, 1, sense, [&](Index row, Index) { return static_cast<double>(offset + row); });
        } else {
            turn(x, positions.cols(), sense, [&](Index row, Index axis) { return positions(offset + row, axis); });
        }
    }
    template <class T, class P>
    void turn_at(const StridedView<T>& x, const P& where, double sense) const {
        check(x.columns, where.cols());
        detail::require(where.rows() == x.rows, "rope: ", detail::named("positions", where.rows(), where.cols()),
                        " must have a row for each of the ", x.rows, " rows of x");
        turn(x, where.cols(), sense,
             [&](Index row, Index axis) { return static_cast<double>(where.derived().coeff(row, axis)); });
    }
    /// `position(row, axis)`: each of so many axes has its share of the pairs.
    template <class T, class Position>
    void turn(const StridedView<T>& x, Index axes, double sense, const Position& position) const {
        using C = Compute<T>;
        const Index turned = width == 0 ? x.columns : width, share = turned / 2 / axes;
        detail::rotate_pairs(x, turned, layout, [&](Index pair) {
            const double frequency = frequencies.empty() ? detail::rope_frequency(pair % share, 2 * share, base)
                                                         : frequencies[static_cast<std::size_t>(pair)];
            return [&, frequency, axis = pair / share](Index row) {
                const double angle = position(row, axis) * frequency;
                return std::pair(static_cast<C>(magnitude * std::cos(angle)),
                                 static_cast<C>(magnitude * sense * std::sin(angle)));
            };
        });
    }
};

/// The positions of a picture's patches, row by row: (rows · columns) × 2, of which token i stands in row i / columns
/// and column i % columns. `Rope{.positions = grid_positions(14, 14)}` turns half of the pairs by either.
/// Throws where a size is negative.
inline RowMatrix<double> grid_positions(Index rows, Index columns) {
    detail::require(rows >= 0 && columns >= 0 && detail::are_sizes(rows, columns),
                    "grid_positions: rows and columns must be sizes, got ", rows, " and ", columns);
    RowMatrix<double> positions(rows * columns, 2);
    for (Index i = 0; i < rows * columns; ++i) {
        positions(i, 0) = static_cast<double>(i / columns);
        positions(i, 1) = static_cast<double>(i % columns);
    }
    return positions;
}

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
    detail::rotate_pairs(view, 2 * cosines.cols(), layout, [&](Index pair) {
        return [&, pair](Index row) {
            return std::pair(static_cast<C>(cosines.derived().coeff(row, pair)),
                             static_cast<C>(sines.derived().coeff(row, pair)));
        };
    });
}

}  // namespace attend

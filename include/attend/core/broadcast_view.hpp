#pragma once
/// \file
/// Foreign memory with one value a pair, where a dimension of size 1 serves all of that dimension.

#include <string_view>

#include <attend/core/concepts.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// view(sequence, head, row, key) of a pair.
template <class T>
struct BroadcastView {
    StridedView<const T> view;

    void check(std::string_view name, const Shape& shape) const {
        const auto fits = [](Index size, Index wanted) { return size == 1 || size == wanted; };
        require(fits(view.sequences, shape.sequences) && fits(view.heads, shape.heads) &&
                    fits(view.rows, shape.queries) && fits(view.columns, shape.keys),
                name, " (", shape_words(view.sequences, view.heads, view.rows, view.columns), ") must be ",
                shape_words(shape.sequences, shape.heads, shape.queries, shape.keys), ", or 1 where it serves all");
    }
    template <class P>
    T at(const P& p) const {
        const auto step = [](Index size, Index stride, Index i) { return size == 1 ? 0 : i * stride; };
        return view
            .data[step(view.sequences, view.sequence_stride, p.sequence) + step(view.heads, view.head_stride, p.head) +
                  step(view.rows, view.row_stride, p.row) + step(view.columns, view.column_stride, p.key)];
    }
};

}  // namespace attend::detail

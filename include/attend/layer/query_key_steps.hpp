#pragma once
/// \file
/// What a block does to its projected queries and keys, head by head, before they meet: norm, then rotation.

#include <attend/core/options.hpp>
#include <attend/core/row_norm.hpp>
#include <attend/layer/multi_head_options.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// RoPE of `count` heads side by side, each sequence from its own first position on, or back.
template <class X, class First>
void rotate_heads(const MultiHeadShape& shape, X& x, Index count, const SequencesRef& sequences, const First& first,
                  bool back) {
    if (!shape.rope) return;
    const bool whole = !sequences;
    for (Index s = 0; s < (whole ? 1 : sequences.count()); ++s) {
        const Index begin = whole ? 0 : sequences.begin(s), rows = whole ? x.rows() : sequences.length(s);
        auto view = heads(x.middleRows(begin, rows), count);
        view.columns = shape.d_head;  // what gates a key does not turn
        back ? shape.rope->inverse(view, first(s)) : (*shape.rope)(view, first(s));
    }
}

/// Throws unless tokens of those sequences, the first of each at `first`, stand somewhere.
inline void check_tokens(const MultiHeadShape& shape, Index rows, const SequencesRef& sequences, Index first) {
    if (!shape.rope) return;
    if (!sequences) return shape.rope->check_tokens(first, rows);
    for (Index s = 0; s < sequences.count(); ++s) shape.rope->check_tokens(first, sequences.length(s));
}

/// The steps, of what was projected to x, which may be the same. `gain`: of the norm.
template <class T, class Projected, class X, class First>
void to_heads(const MultiHeadShape& shape, const ColumnVector<T>& gain, const Projected& projected, X& x, Index count,
              const SequencesRef& sequences, const First& first) {
    using C = Compute<T>;
    if (shape.qk_norm) {
        const Index d = shape.d_head, apart = x.cols() / count;  // a key's gates stand behind it
        if (apart > d && x.data() != projected.data()) x = projected;
        for (Index i = 0; i < x.rows(); ++i) {
            for (Index h = 0; h < count; ++h)
                shape.qk_norm->row(FeatureRow<C, const T>{projected.data() + i * projected.outerStride() + h * apart},
                                   FeatureRow<C, T>{x.data() + i * x.outerStride() + h * apart}, d,
                                   FeatureRow<C, const T>{gain.data()});
        }
    }
    rotate_heads(shape, x, count, sequences, first, false);
}

/// Makes of dx, the gradient behind the steps, that of what was projected, and adds that of the gain where one is
/// given. `sums` is memory of d_head numbers.
template <class T, class D, class Projected, class DX, class First>
void to_heads_backward(const MultiHeadShape& shape, const ColumnVector<T>& gain, const Projected& projected, DX& dx,
                       Index count, const SequencesRef& sequences, const First& first, ColumnVector<D>* dgain,
                       ColumnVector<Compute<T>>& sums) {
    using C = Compute<T>;
    rotate_heads(shape, dx, count, sequences, first, true);
    if (!shape.qk_norm) return;
    const Index d = shape.d_head, apart = dx.cols() / count;
    sums.setZero(d);  // of 16-bit gains the sum is rounded once
    for (Index i = 0; i < dx.rows(); ++i) {
        for (Index h = 0; h < count; ++h) {
            const FeatureRow<C, T> d_row{dx.data() + i * dx.outerStride() + h * apart};
            shape.qk_norm->row_backward(
                FeatureRow<C, const T>{projected.data() + i * projected.outerStride() + h * apart}, d_row, d,
                FeatureRow<C, const T>{gain.data()}, FeatureRow<C, C>{dgain == nullptr ? nullptr : sums.data()}, C(1),
                [&](Index a, Index n, const auto& dx_a) { d_row.store(a, n, dx_a); });
        }
    }
    if (dgain != nullptr) *dgain = (dgain->template cast<C>() + sums).template cast<D>();
}

}  // namespace attend::detail

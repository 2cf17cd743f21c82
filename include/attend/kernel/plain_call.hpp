#pragma once
/// \file
/// A call of one tiny head, before anything is made of its operands: where their sizes are known when it is compiled,
/// nothing of what it takes is asked when it is made.

#include <functional>

#include <attend/call/checks.hpp>
#include <attend/core/operands.hpp>
#include <attend/kernel/direct.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The rows of a matrix as such, of which the scalars follow each other.
template <class T>
const T* in_rows(const StridedView<const T>& view, T* room, Index& stride) {
    stride = view.row_stride;
    if (view.column_stride == 1 || view.columns == 1) return view.data;
    for (Index a = 0; a < view.columns; ++a) {
        for (Index i = 0; i < view.rows; ++i)
            room[i * view.columns + a] = view.data[i * view.row_stride + a * view.column_stride];
    }
    stride = view.columns;
    return room;
}

template <class T, class A, class Head>
ATTEND_ALWAYS_INLINE inline bool run_tiny(const A& attention, const StridedView<const T>& q,
                                          const StridedView<const T>& k, const StridedView<const T>& v,
                                          const StridedView<T>& out, const StridedView<T>& lse, Index query_offset) {
    const Cover cover = cover_of(attention.mask, Tile{query_offset, query_offset + q.rows, 0, k.rows, 0, 0, 0, 0});
    if (cover == Cover::none ||
        (cover == Cover::some &&
         !all_finite<T>(StridedMatrix<T>{v.data, v.row_stride, v.column_stride}, v.rows, v.columns)))
        return false;
    T q_room[tiny_room<T>], k_room[tiny_room<T>], v_room[tiny_room<T>];
    Head head{.queries = q.rows,
              .keys = k.rows,
              .width = q.columns,
              .d_v = v.columns,
              .factor = query_factor<T>(attention.score(), q.columns),
              .out = out.data,
              .lse = lse.data,
              .out_row = out.row_stride,
              .out_column = out.column_stride,
              .lse_stride = lse.row_stride};
    head.q = in_rows(q, q_room, head.q_stride);
    head.k = in_rows(k, k_room, head.k_stride);
    head.v = in_rows(v, v_room, head.v_stride);
    const Position first{query_offset, 0, 0, 0, 0, 0};
    if constexpr (Head::fixed) {
        TinyForward<T, A, Head>(attention, head).run(first, cover);
    } else {
        run_tiny_head<T>(attention, head, first, cover);
    }
    return true;
}
template <class T, class A>
ATTEND_NOINLINE bool run_any_tiny(const A& attention, const StridedView<const T>& q, const StridedView<const T>& k,
                                  const StridedView<const T>& v, const StridedView<T>& out, const StridedView<T>& lse,
                                  Index query_offset) {
    return run_tiny<T, A, AnyTinyHead<T>>(attention, q, k, v, out, lse, query_offset);
}

/// Where a plain matrix stands, of which the strides are not negative.
struct Span {
    const void *begin, *end;

    template <class T>
    ATTEND_ALWAYS_INLINE explicit Span(const StridedView<T>& x)
        : begin(x.data), end(x.data + ((x.rows - 1) * x.row_stride + (x.columns - 1) * x.column_stride + 1)) {}
    ATTEND_ALWAYS_INLINE bool apart(const Span& other) const {
        const std::less_equal<const void*> before;
        return before(end, other.begin) || before(other.end, begin);
    }
};
/// Whether a view is a plain matrix of that size, of rows or columns that follow each other.
template <class T>
ATTEND_ALWAYS_INLINE inline bool is_plain(const StridedView<T>& x, Index rows, Index columns) {
    return x.data != nullptr && x.sequences == 1 && x.heads == 1 && x.rows == rows && x.columns == columns &&
           (x.column_stride == 1 ? x.row_stride >= columns : x.row_stride == 1 && x.column_stride >= rows);
}
template <class T>
bool is_plain(const ForwardOptions<T>& options) {
    return !options.sequences && !options.key_sequences && options.dropout.rate == 0 && !options.weights &&
           !options.weight_rows && !options.insight && options.query_positions.get().empty() &&
           is_position(options.query_offset) && (options.workspace == nullptr || options.workspace->buffer().empty());
}

/// A call of one tiny head, which is all right, at once. False, and nothing is written, where it is anything else: what
/// is wrong with a call is found elsewhere. `lse` may have no memory: not wanted then.
template <class T, class A, class Q, class K, class V>
ATTEND_ALWAYS_INLINE inline bool run_if_tiny(const A& attention, const Q& q_operand, const K& k_operand,
                                             const V& v_operand, const StridedView<T>& out, const StridedView<T>& lse,
                                             bool wants_lse, Index query_offset) {
    constexpr bool known = is_tiny<T>(Q::rows_at_compile_time, K::rows_at_compile_time, Q::columns_at_compile_time,
                                      V::columns_at_compile_time);
    using Head = std::conditional_t<known,
                                    TinyHead<T, Q::rows_at_compile_time, K::rows_at_compile_time,
                                             Q::columns_at_compile_time, V::columns_at_compile_time>,
                                    AnyTinyHead<T>>;
    const auto q = q_operand.view(), k = k_operand.view(), v = v_operand.view();
    if (!known && !is_tiny_at_any_size<T>(q.rows, k.rows, q.columns, v.columns)) return false;
    if (!is_plain(q, q.rows, q.columns) || !is_plain(k, k.rows, q.columns) || !is_plain(v, k.rows, v.columns) ||
        !is_plain(out, q.rows, v.columns))
        return false;
    const Span of_out(out), of_q(q), of_k(k), of_v(v);
    if (!(of_out.apart(of_q) && of_out.apart(of_k) && of_out.apart(of_v))) return false;
    if (wants_lse) {
        if (!is_plain(lse, q.rows, 1)) return false;
        const Span of_lse(lse);
        if (!(of_lse.apart(of_q) && of_lse.apart(of_k) && of_lse.apart(of_v) && of_lse.apart(of_out))) return false;
    }
    check_call(attention,
               Shape{.queries = q.rows,
                     .keys = k.rows,
                     .d_q = q.columns,
                     .d_k = k.columns,
                     .d_v = v.columns,
                     .query_offset = query_offset,
                     .key_rows = k.rows},
               q, k);
    if constexpr (known) {
        return run_tiny<T, A, Head>(attention, q, k, v, out, lse, query_offset);
    } else {
        return run_any_tiny<T>(attention, q, k, v, out, lse, query_offset);
    }
}

/// The same of operands that are of fixed sizes, known to be tiny.
template <class T, class A, class Q, class K, class V>
ATTEND_FLAT bool run_fixed(const A& attention, const Q& q, const K& k, const V& v, const Output<T>& out) {
    return run_if_tiny<T>(attention, Operand(q), Operand(k), Operand(v), out.given(), {}, false, 0);
}

}  // namespace attend::detail::fused

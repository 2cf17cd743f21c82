#pragma once
/// \file
/// The reference kernel by itself: calls of the library's scalar types run fused.

#include <support/call.hpp>

namespace attend::test {

/// The gradients by the reference, row by row.
template <class T, class A>
Gradients<T, A> reference_gradients(const A& attention, const Operands<T>& x) {
    using attend::detail::SequencesRef;
    Gradients<T, A> d{.dq = RowMatrix<T>::Zero(x.q.rows(), x.q.cols()),
                      .dk = RowMatrix<T>::Zero(x.k.rows(), x.k.cols()),
                      .dv = RowMatrix<T>::Zero(x.v.rows(), x.v.cols()),
                      .parameters = zero_gradient(attention)};
    const attend::detail::Problem<T> problem(x.query_heads(), x.key_heads(), x.value_heads(), x.layout.query_offset,
                                             SequencesRef(std::span(x.layout.sequences)),
                                             SequencesRef(std::span(x.layout.key_sequences)), x.layout.dropout);
    Workspace workspace;
    attend::detail::reference::backward<T>(
        attention, problem, StridedView<const T>(heads(x.dout, x.layout.heads)),
        StridedView<T>(heads(d.dq, x.layout.heads)), StridedView<T>(heads(d.dk, x.layout.kv_heads)),
        StridedView<T>(heads(d.dv, x.layout.kv_heads)), &d.parameters,
        workspace.data(attend::detail::reference::workspace_bytes<T>(attention, problem.shape, true, 1)), serial);
    return d;
}

}  // namespace attend::test

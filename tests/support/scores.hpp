#pragma once
/// \file
/// The scores of an attention: a row with one key has that key's score as its LSE.

#include <attend/attention.hpp>

namespace attend::test {

/// s(i, j) of every query and key, each key called by itself, at position 0.
template <class A, class T>
RowMatrix<T> scores_of(const A& attention, const RowMatrix<T>& q, const RowMatrix<T>& k) {
    RowMatrix<T> scores(q.rows(), k.rows()), out;
    for (Index j = 0; j < k.rows(); ++j) {
        attention(q, k.row(j), k.row(j), out, {.lse = scores.col(j)});
    }
    return scores;
}

}  // namespace attend::test

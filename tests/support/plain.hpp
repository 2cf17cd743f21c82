#pragma once
/// \file
/// Attention as its definition says, pair by pair: what no cleverness can have spoilt.

#include <cmath>
#include <limits>

#include <attend/core/types.hpp>

namespace attend::test {

template <class T>
struct PlainAttention {
    RowMatrix<T> out, weights;
    ColumnVector<T> lse;
};

/// Softmax attention with s(i, j) = `score(i, j)`, where −∞ says that there is no such pair.
template <class T, class ScoreOf>
PlainAttention<T> plain_attention(Index queries, const RowMatrix<T>& v, const ScoreOf& score) {
    PlainAttention<T> y{RowMatrix<T>::Zero(queries, v.cols()), RowMatrix<T>::Zero(queries, v.rows()),
                        ColumnVector<T>(queries)};
    for (Index i = 0; i < queries; ++i) {
        T most = -std::numeric_limits<T>::infinity(), sum = 0;
        for (Index j = 0; j < v.rows(); ++j) most = std::max(most, static_cast<T>(score(i, j)));
        const bool empty = most == -std::numeric_limits<T>::infinity();
        for (Index j = 0; j < v.rows() && !empty; ++j) sum += std::exp(static_cast<T>(score(i, j)) - most);
        for (Index j = 0; j < v.rows() && !empty; ++j) {
            y.weights(i, j) = std::exp(static_cast<T>(score(i, j)) - most) / sum;
            for (Index c = 0; c < v.cols(); ++c) y.out(i, c) += y.weights(i, j) * v(j, c);
        }
        y.lse[i] = empty ? most : most + std::log(sum);
    }
    return y;
}

/// What one writes with Eigen and nothing else.
inline RowMatrix<float> expression_in_float(const RowMatrix<float>& q, const RowMatrix<float>& k,
                                            const RowMatrix<float>& v) {
    const Eigen::MatrixXf s = q * k.transpose() / std::sqrt(static_cast<float>(q.cols()));
    const Eigen::MatrixXf p = (s.colwise() - s.rowwise().maxCoeff()).array().exp();
    return p.rowwise().sum().cwiseInverse().asDiagonal() * (p * v);
}

}  // namespace attend::test

#pragma once
/// \file
/// Attention as one writes it in Eigen without this library, with whole matrices of scores: in the operands' precision
/// the yardstick of speed and of law 10, in a wider one the truth.

#include <cmath>
#include <limits>
#include <vector>

#include <operands.hpp>

namespace attend::bench {

/// As one declares it who does not think of storage orders.
template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

/// Which rows of the queries; row i stands at position i.
using Rows = std::vector<Index>;

/// `count` rows, evenly spread over all of them, the first and the last included.
inline Rows spread_rows(Index all, Index count) {
    Rows rows;
    for (Index i = 0; i < count; ++i) rows.push_back(i * (all - 1) / std::max<Index>(count - 1, 1));
    return rows;
}
inline Rows all_rows(Index all) { return spread_rows(all, all); }

template <class T, class X>
Matrix<T> picked(const X& x, const Rows& rows) {
    Matrix<T> some(static_cast<Index>(rows.size()), x.cols());
    for (Index i = 0; i < some.rows(); ++i) some.row(i) = x.row(rows[static_cast<std::size_t>(i)]).template cast<T>();
    return some;
}

/// As fast as Eigen makes it. In one expression, exp(s.colwise() − maximum), it is not vectorised and takes five times
/// as long. And Eigen's exp(−∞) may be a denormal number, with which the product with the values takes forty times as
/// long: weights so near the smallest normal number become 0 here.
template <class X>
void softmax_rows(X& s) {
    using T = typename X::Scalar;
    const T lowest = std::log(std::numeric_limits<T>::min()) + T(1);
    s.colwise() -= s.rowwise().maxCoeff().eval();
    s = (s.array().max(lowest).exp() - std::exp(lowest + T(1))).max(T(0));
    s.array().colwise() /= s.rowwise().sum().array().eval();
}

/// How an attention scores: a function of q, k and the rows that q holds, which returns the matrix of scores.
inline constexpr auto scaled_dot_scores = [](const auto& q, const auto& k, const Rows&) {
    using T = typename std::decay_t<decltype(q)>::Scalar;
    return Matrix<T>(q * k.transpose() * (T(1) / std::sqrt(static_cast<T>(q.cols()))));
};

/// The same, without the pairs that a mask of this library drops.
template <class Mask>
auto masked_scores(Mask mask) {
    return [mask](const auto& q, const auto& k, const Rows& rows) {
        auto s = scaled_dot_scores(q, k, rows);
        using T = typename decltype(s)::Scalar;
        for (Index j = 0; j < s.cols(); ++j) {
            for (Index i = 0; i < s.rows(); ++i) {
                const Index row = rows[static_cast<std::size_t>(i)];
                const Position pair{.query = row, .key = j, .row = row};
                if (!mask(pair)) s(i, j) = -std::numeric_limits<T>::infinity();
            }
        }
        return s;
    };
}

template <class Q, class K, class V, class Scores>
auto naive_attention(const Q& q, const K& k, const V& v, const Rows& rows, const Scores& scores) {
    Matrix<typename Q::Scalar> weights = scores(q, k, rows);
    softmax_rows(weights);
    return Matrix<typename Q::Scalar>(weights * v);
}

/// Calls `f(sequence, head)` for each.
template <class AnyOperands, class F>
void for_each_head(const AnyOperands& x, F&& f) {
    for (Index s = 0; s < x.q.view.sequences; ++s) {
        for (Index h = 0; h < x.q.view.heads; ++h) f(s, h);
    }
}

/// The whole call.
template <class AnyOperands, class Scores>
void run_naive(AnyOperands& x, const Rows& rows, const Scores& scores) {
    const Index group = x.q.view.heads / x.k.view.heads;
    for_each_head(x, [&](Index s, Index h) {
        x.out.head(s, h) =
            naive_attention(x.q.head(s, h), x.k.head(s, h / group), x.v.head(s, h / group), rows, scores);
    });
}

/// Some rows of all heads side by side, computed in T from the same operands.
template <class T, class AnyOperands, class Scores>
Matrix<T> naive_rows(const AnyOperands& x, const Rows& rows, const Scores& scores) {
    const Index group = x.q.view.heads / x.k.view.heads, width = x.v.view.columns;
    Matrix<T> all(static_cast<Index>(rows.size()), x.q.view.sequences * x.q.view.heads * width);
    for_each_head(x, [&](Index s, Index h) {
        const Matrix<T> k = x.k.head(s, h / group).template cast<T>(), v = x.v.head(s, h / group).template cast<T>();
        all.middleCols((s * x.q.view.heads + h) * width, width) =
            naive_attention(picked<T>(x.q.head(s, h), rows), k, v, rows, scores);
    });
    return all;
}

}  // namespace attend::bench

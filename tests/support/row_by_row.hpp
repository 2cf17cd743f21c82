#pragma once
/// \file
/// Gradients as naive code of a scalar type forms them: row by row, from the parts of the attention. What law 10
/// compares errors with; what is right is the oracle's affair.

#include <limits>
#include <span>
#include <vector>

#include <attend/attend.hpp>

namespace attend::test {

/// The operands of one head, and the gradients that are added to.
template <class T>
struct Head {
    RowMatrix<T> q, k, v, dout;
    Index head = 0, kv_head = 0, query_offset = 0;
    RowMatrix<T> dq = RowMatrix<T>::Zero(q.rows(), q.cols()), dk = RowMatrix<T>::Zero(k.rows(), k.cols()),
                 dv = RowMatrix<T>::Zero(v.rows(), v.cols());
};

template <class T, class A>
void add_gradients_row_by_row(const A& attention, Head<T>& x, A* gradient) {
    using S = typename A::ScoreFunctor;
    const S& score = attention.score();
    S* const score_gradient = gradient == nullptr ? nullptr : &gradient->score();
    const Index n = x.k.rows(),
                width = attend::detail::features_of(score, {.d_q = x.q.cols(), .d_k = x.k.cols(), .d_v = x.v.cols()});
    std::vector<T> features(static_cast<std::size_t>((x.q.rows() + n) * width));
    Eigen::Map<RowMatrix<T>> q(features.data(), x.q.rows(), width), k(features.data() + q.size(), n, width);
    attend::detail::map_queries(score, x.q, q);
    if constexpr (requires { score.map_keys(x.k, k); }) {
        score.map_keys(x.k, k);
    } else {
        k = x.k;
    }
    RowMatrix<T> dq = RowMatrix<T>::Zero(q.rows(), width), dk = RowMatrix<T>::Zero(n, width);
    std::vector<T> raw(static_cast<std::size_t>(n)), weights = raw, dweights = raw;
    const auto at = [](Index j) { return static_cast<std::size_t>(j); };
    for (Index i = 0; i < q.rows(); ++i) {
        const RowPosition where{x.query_offset + i, i, x.head, x.kv_head, 0};
        for (Index j = 0; j < n; ++j) {
            raw[at(j)] = T(0);
            if constexpr (S::pairing == Pairing::dot) {
                raw[at(j)] = q.row(i).dot(k.row(j));
            } else {
                for (Index a = 0; a < width; ++a) raw[at(j)] += score.pair(q(i, a), k(j, a), a);
            }
            weights[at(j)] = attention.mask(where.at(j)) ? attention.modifiers(raw[at(j)], where.at(j))
                                                         : -std::numeric_limits<T>::infinity();
            dweights[at(j)] = attention.mask(where.at(j)) ? x.dout.row(i).dot(x.v.row(j)) : T(0);
        }
        const T lse = attention.normalizer.normalize(std::span<T>(weights), where);
        attention.normalizer.backward(std::span<const T>(weights), std::span<T>(dweights), lse, where,
                                      gradient == nullptr ? nullptr : &gradient->normalizer);
        for (Index j = 0; j < n; ++j) {
            if (!attention.mask(where.at(j))) continue;
            const T ds = attention.modifiers.backward(raw[at(j)], where.at(j), dweights[at(j)],
                                                      gradient == nullptr ? nullptr : &gradient->modifiers);
            x.dv.row(j) += weights[at(j)] * x.dout.row(i);
            if constexpr (S::pairing == Pairing::dot) {
                dq.row(i) += ds * k.row(j);
                dk.row(j) += ds * q.row(i);
            } else {
                for (Index a = 0; a < width; ++a) {
                    using Feature = attend::Dual<T, 2>;
                    const Feature s = score.pair(Feature::variable(q(i, a), 0), Feature::variable(k(j, a), 1), a);
                    dq(i, a) += ds * s.partial[0];
                    dk(j, a) += ds * s.partial[1];
                    if constexpr (requires { score.pair_backward(q(i, a), k(j, a), a, ds, *score_gradient); }) {
                        if (score_gradient != nullptr) score.pair_backward(q(i, a), k(j, a), a, ds, *score_gradient);
                    }
                }
            }
        }
    }
    const Eigen::Map<RowMatrix<T>> dq_features(dq.data(), dq.rows(), width), dk_features(dk.data(), n, width);
    attend::detail::map_queries_backward(score, x.q, dq_features, x.dq, score_gradient);
    attend::detail::map_keys_backward(score, x.k, dk_features, x.dk, score_gradient);
}

}  // namespace attend::test

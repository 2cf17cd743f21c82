#pragma once
/// \file
/// Bahdanau's additive score.

#include <cmath>
#include <cstdint>
#include <utility>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/random.hpp>
#include <attend/engine/row_products.hpp>

namespace attend::inline ATTEND_ABI {

/// s = vᵀ tanh(Wqᵀ q + Wkᵀ k + b) with learned Wq, Wk, b and v (Bahdanau et al. 2014). Queries and keys are projected
/// once, n × hidden; scores are then formed pair by pair, so no n_q × n_kv × hidden tensor exists.
template <class T>
struct AdditiveScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::elementwise;
    using Scalar = T;

    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> query_weight;  ///< Wq, d_q × hidden
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> key_weight;    ///< Wk, d_k × hidden
    ColumnVector<T> bias;                                           ///< b, hidden
    ColumnVector<T> score_weight;                                   ///< v, hidden

    /// Xavier-uniform weights from `seed`, bias 0.
    AdditiveScore(Index d_q, Index d_k, Index hidden, std::uint64_t seed)
        : query_weight(d_q, hidden),
          key_weight(d_k, hidden),
          bias(ColumnVector<T>::Zero(hidden)),
          score_weight(hidden) {
        Random random(seed);
        fill_xavier(query_weight, random);
        fill_xavier(key_weight, random);
        fill_xavier(score_weight, random);
    }

    /// The same score with parameters of C.
    template <class C>
    AdditiveScore<C> cast() const {
        AdditiveScore<C> score(0, 0, 0, 0);
        score.query_weight = query_weight.template cast<C>();
        score.key_weight = key_weight.template cast<C>();
        score.bias = bias.template cast<C>();
        score.score_weight = score_weight.template cast<C>();
        return score;
    }

    static void parameters(auto& self, auto&& visit) {
        visit("query_weight", self.query_weight);
        visit("key_weight", self.key_weight);
        visit("bias", self.bias);
        visit("score_weight", self.score_weight);
    }
    auto spelled(const auto& say) const {
        return say(say.of("AdditiveAttention", T()), query_weight.rows(), key_weight.rows(), score_weight.size(),
                   "seed");
    }

    void check(const Shape& shape) const {
        detail::require(shape.d_q == query_weight.rows(), detail::named("q", shape.queries, shape.d_q),
                        " must be as wide as the additive score's ",
                        detail::named("query_weight", query_weight.rows(), query_weight.cols()), " has rows");
        detail::require(shape.d_k == key_weight.rows(), detail::named("k", shape.keys, shape.d_k),
                        " must be as wide as the additive score's ",
                        detail::named("key_weight", key_weight.rows(), key_weight.cols()), " has rows");
        const Index hidden = score_weight.size();
        detail::require(query_weight.cols() == hidden && key_weight.cols() == hidden && bias.size() == hidden,
                        "the additive score's ",
                        detail::named("query_weight", query_weight.rows(), query_weight.cols()), ", ",
                        detail::named("key_weight", key_weight.rows(), key_weight.cols()), ", bias (", bias.size(),
                        ") and score_weight (", hidden, ") must agree on the hidden width");
    }
    Index features(Index, Index) const { return score_weight.size(); }
    Index query_width() const { return query_weight.rows(); }

    template <class Rows, class Mapped>
    void map_queries(const Rows& q, Mapped& mapped) const {
        using C = typename Mapped::Scalar;
        for (Index i = 0; i < q.rows(); ++i) mapped.row(i) = bias.transpose().template cast<C>();
        detail::add_row_products<C>(q, query_weight, mapped);
    }
    template <class Rows, class Mapped>
    void map_keys(const Rows& k, Mapped& mapped) const {
        using C = typename Mapped::Scalar;
        mapped.setZero();
        detail::add_row_products<C>(k, key_weight, mapped);
    }
    template <class Rows, class Mapped, class Gradient>
    void map_queries_backward(const Rows& q, const Mapped& dmapped, Gradient& dq, AdditiveScore* gradient) const {
        using C = typename Mapped::Scalar;
        detail::add_row_products<C>(dmapped, query_weight.transpose(), dq);
        if (gradient == nullptr) return;
        detail::add_outer_products(gradient->query_weight, q, dmapped);
        gradient->bias += dmapped.colwise().sum().transpose().template cast<T>();
    }
    template <class Rows, class Mapped, class Gradient>
    void map_keys_backward(const Rows& k, const Mapped& dmapped, Gradient& dk, AdditiveScore* gradient) const {
        using C = typename Mapped::Scalar;
        detail::add_row_products<C>(dmapped, key_weight.transpose(), dk);
        if (gradient != nullptr) detail::add_outer_products(gradient->key_weight, k, dmapped);
    }

    template <class X>
    X pair(const X& q, const X& k, Index a) const {
        using std::tanh;
        return tanh(q + k) * X(weight_of(a));
    }
    /// The same of e^{2q} and e^{2k}, since tanh(q + k) = 1 − 2 / (e^{2q} e^{2k} + 1): an exponential a feature instead
    /// of a tanh a pair. For features up to `most_exponential`: beyond them a product of two denominators could
    /// overflow.
    template <class X>
    X pair_of_exponentials(const X& e_q, const X& e_k, Index a) const {
        const X v(weight_of(a)), x = madd(e_q, e_k, X(1));
        return madd(-(v + v), reciprocal(x), v);
    }
    static constexpr double exponent_factor = 2, most_exponential = 10;  ///< see `pair_of_exponentials`
    /// Of the features a and a + 1 with a single reciprocal, the dearest part: v/x + w/y = (v y + w x) / (x y).
    template <class X>
    X pairs_of_exponentials(const X& e_q, const X& e_k, const X& f_q, const X& f_k, Index a) const {
        const X v(weight_of(a)), w(weight_of(a + 1)), x = madd(e_q, e_k, X(1)), y = madd(f_q, f_k, X(1));
        return madd(madd(-(v + v), y, -(w + w) * x), reciprocal(x * y), v + w);
    }
    /// Of ds: that of q + k, and that of v_a. With r = 1 / (e^{2q} e^{2k} + 1), tanh is 1 − 2 r and its slope
    /// 4 r (1 − r).
    template <class X>
    std::pair<X, X> pair_of_exponentials_backward(const X& e_q, const X& e_k, Index a, const X& ds) const {
        const X r = reciprocal(madd(e_q, e_k, X(1)));
        return {ds * X(4 * weight_of(a)) * (r - r * r), ds - ds * (r + r)};
    }
    /// Adds to the gradient of v_a.
    template <class C>
    void add_weight_gradient(Index a, C dweight, AdditiveScore& gradient) const {
        gradient.score_weight[a] += static_cast<T>(dweight);
    }
    template <class C>
    void pair_backward(C q, C k, Index a, C ds, AdditiveScore& gradient) const {
        using std::tanh;
        gradient.score_weight[a] += static_cast<T>(sum(ds * tanh(q + k)));
    }

private:
    Compute<T> weight_of(Index a) const { return static_cast<Compute<T>>(score_weight[a]); }
};

}  // namespace attend

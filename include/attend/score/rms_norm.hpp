#pragma once
/// \file
/// Dot-product score of normed queries and keys.

#include <cmath>
#include <optional>

#include <attend/core/concepts.hpp>
#include <attend/core/row_norm.hpp>

namespace attend::inline ATTEND_ABI {

/// s = scale · (gq · q / rms(q)) · (gk · k / rms(k)), QK norm: queries and keys are divided by their root mean square
/// and multiplied by learned gains, one for each of the d_k features (Zhang and Sennrich 2019; Dehghani et al. 2023; as
/// in Qwen3). The default scale is 1/√d_k. Throws unless q and k have as many features as the gains. A block norms each
/// head before rotation by `MultiHeadShape::qk_norm`.
template <class T>
struct RmsNormScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;
    using Scalar = T;

    ColumnVector<T> q_norm, k_norm;  ///< the gains gq and gk, d_k
    RmsNorm norm{};                  ///< its ε
    std::optional<double> scale{};   ///< a constant of the model

    /// Gains of 1.
    explicit RmsNormScore(Index d_k, const RmsNorm& norm_ = {}, std::optional<double> scale_ = {})
        : q_norm(ColumnVector<T>::Ones(d_k)), k_norm(ColumnVector<T>::Ones(d_k)), norm(norm_), scale(scale_) {}

    /// The same score with parameters of C.
    template <class C>
    RmsNormScore<C> cast() const {
        RmsNormScore<C> score(0, norm, scale);
        score.q_norm = q_norm.template cast<C>();
        score.k_norm = k_norm.template cast<C>();
        return score;
    }

    static void parameters(auto& self, auto&& visit) {
        visit("q_norm", self.q_norm);
        visit("k_norm", self.k_norm);
    }
    auto spelled(const auto& say) const {
        const bool usual = norm.epsilon == RmsNorm().epsilon && !scale;
        return say(say.of("RmsNormAttention", T()), q_norm.size(), say.when(!usual, norm),
                   say.when(scale.has_value(), scale));
    }

    void check(const Shape& shape) const {
        norm.check();
        detail::require(shape.d_q == q_norm.size() && shape.d_k == k_norm.size(),
                        detail::named("q", shape.queries, shape.d_q), " and ",
                        detail::named("k", shape.keys, shape.d_k), " must have a column for each gain, q_norm has ",
                        q_norm.size(), " and k_norm ", k_norm.size());
        detail::require(q_norm.size() == k_norm.size(), "the gains q_norm (", q_norm.size(), ") and k_norm (",
                        k_norm.size(), ") must have one size");
    }
    Index query_width() const { return q_norm.size(); }

    template <class Rows, class Mapped>
    void map_queries(const Rows& q, Mapped& mapped) const {
        map(q, q_norm, query_factor<typename Mapped::Scalar>(), mapped);
    }
    template <class Rows, class Mapped>
    void map_keys(const Rows& k, Mapped& mapped) const {
        map(k, k_norm, typename Mapped::Scalar(1), mapped);
    }
    template <class Rows, class Mapped, class Gradient>
    void map_queries_backward(const Rows& q, const Mapped& dmapped, Gradient& dq, RmsNormScore* gradient) const {
        map_backward(q, q_norm, query_factor<typename Mapped::Scalar>(), dmapped, dq,
                     gradient == nullptr ? nullptr : gradient->q_norm.data());
    }
    template <class Rows, class Mapped, class Gradient>
    void map_keys_backward(const Rows& k, const Mapped& dmapped, Gradient& dk, RmsNormScore* gradient) const {
        map_backward(k, k_norm, typename Mapped::Scalar(1), dmapped, dk,
                     gradient == nullptr ? nullptr : gradient->k_norm.data());
    }

private:
    template <class C>
    C query_factor() const {
        using std::sqrt;
        return scale ? static_cast<C>(*scale) : C(1) / sqrt(static_cast<C>(q_norm.size()));
    }
    template <class Rows, class Mapped>
    void map(const Rows& x, const ColumnVector<T>& gain, typename Mapped::Scalar factor, Mapped& mapped) const {
        using C = typename Mapped::Scalar;
        for (Index i = 0; i < x.rows(); ++i)
            norm.row(detail::feature_row<C>(x, i), detail::feature_row<C>(mapped, i), x.cols(),
                     detail::FeatureRow<C, const T>{gain.data()}, factor);
    }
    template <class Rows, class Mapped, class Gradient>
    void map_backward(const Rows& x, const ColumnVector<T>& gain, typename Mapped::Scalar factor, const Mapped& dmapped,
                      Gradient& dx, T* dgain) const {
        using C = typename Mapped::Scalar;
        for (Index i = 0; i < x.rows(); ++i) {
            const auto dx_i = detail::feature_row<C>(dx, i);
            norm.row_backward(
                detail::feature_row<C>(x, i), detail::feature_row<C>(dmapped, i), x.cols(),
                detail::FeatureRow<C, const T>{gain.data()}, detail::FeatureRow<C, T>{dgain}, factor,
                [&](Index a, Index n, const auto& d) { dx_i.store(a, n, detail::simd::add(dx_i.load(a, n), d)); });
        }
    }
};

}  // namespace attend

#pragma once
/// \file
/// Scaled dot-product score.

#include <cmath>
#include <optional>

#include <attend/core/concepts.hpp>

namespace attend::inline ATTEND_ABI {

/// s = scale · (q · k), for q and k of one width d_k; the default scale is 1/√d_k (Vaswani et al. 2017).
struct ScaledDotScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

    std::optional<double> scale{};  ///< a constant of the model, not a parameter that trains

    constexpr ScaledDotScore() = default;
    /// With that scale in place of 1/√d_k.
    constexpr explicit ScaledDotScore(double scale_) : scale(scale_) {}

    auto spelled(const auto& say) const {
        return scale ? say("ScaledDotProductAttention", *scale) : say("scaled_dot_product");
    }

    template <class Rows, class Mapped>
    void map_queries(const Rows& q, Mapped& mapped) const {
        using T = typename Mapped::Scalar;
        mapped = q.template cast<T>() * query_factor<T>(q.cols());
    }
    template <class Rows, class Mapped, class Gradient>
    void map_queries_backward(const Rows& q, const Mapped& dmapped, Gradient& dq, ScaledDotScore*) const {
        using T = typename Mapped::Scalar;
        dq += (dmapped * query_factor<T>(q.cols())).template cast<typename Gradient::Scalar>();
    }
    /// The map of the queries is this factor.
    template <class T>
    T query_factor(Index d_k) const {
        using std::sqrt;
        return scale ? static_cast<T>(*scale) : T(1) / sqrt(static_cast<T>(d_k));
    }
};

}  // namespace attend

#pragma once
/// \file
/// Luong's general score.

#include <cstdint>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/random.hpp>
#include <attend/engine/row_products.hpp>

namespace attend::inline ATTEND_ABI {

/// s = qᵀ W k with a learned W (Luong et al. 2015, "general"); q and k may differ in width.
template <class T>
struct GeneralScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

    using Scalar = T;

    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> weight;  ///< d_q × d_k

    /// Xavier-uniform weights from `seed`.
    GeneralScore(Index d_q, Index d_k, std::uint64_t seed) : weight(d_q, d_k) {
        Random random(seed);
        fill_xavier(weight, random);
    }

    /// The same score with parameters of C.
    template <class C>
    GeneralScore<C> cast() const {
        GeneralScore<C> score(0, 0, 0);
        score.weight = weight.template cast<C>();
        return score;
    }

    static void parameters(auto& self, auto&& visit) { visit("weight", self.weight); }
    auto spelled(const auto& say) const {
        return say(say.of("GeneralAttention", T()), weight.rows(), weight.cols(), "seed");
    }

    void check(const Shape& shape) const {
        detail::require(shape.d_q == weight.rows() && shape.d_k == weight.cols(),
                        detail::named("q", shape.queries, shape.d_q), " and ",
                        detail::named("k", shape.keys, shape.d_k), " must be as wide as the general score's ",
                        detail::named("weight", weight.rows(), weight.cols()), " has rows and columns");
    }
    Index features(Index, Index d_k) const { return d_k; }
    Index query_width() const { return weight.rows(); }

    template <class Rows, class Mapped>
    void map_queries(const Rows& q, Mapped& mapped) const {
        using C = typename Mapped::Scalar;
        mapped.setZero();
        detail::add_row_products<C>(q, weight, mapped);
    }
    template <class Rows, class Mapped, class Gradient>
    void map_queries_backward(const Rows& q, const Mapped& dmapped, Gradient& dq, GeneralScore* gradient) const {
        using C = typename Mapped::Scalar;
        detail::add_row_products<C>(dmapped, weight.transpose(), dq);
        if (gradient != nullptr) detail::add_outer_products(gradient->weight, q, dmapped);
    }
};

}  // namespace attend

#pragma once
/// \file
/// Sigmoid attention.

#include <span>

#include <attend/core/concepts.hpp>
#include <attend/core/per_head.hpp>
#include <attend/softmax/logistic.hpp>
#include <attend/softmax/softmax.hpp>

namespace attend::inline ATTEND_ABI {

/// p = σ(s + bias), each pair on its own: no row sum (Ramapuram et al. 2024, who advise a bias of −log n_kv). The bias
/// trains; it is one for all heads or one a head. The LSE is that of the scores, without the bias.
template <class Bias>
struct Sigmoid {
    static constexpr Kind kind = Kind::normalizer;

    Bias bias;  ///< double, or a vector with one a head

    static void parameters(auto& self, auto&& visit) { visit("bias", self.bias); }
    auto spelled(const auto& say) const { return say("sigmoid", bias); }
    void check(const Shape& shape) const { detail::check_per_head(bias, "sigmoid: bias", shape); }

    template <class S>
    S weight(S s, Index head) const {
        return detail::logistic(s + S(detail::at_head(bias, head)));
    }
    template <class T>
    T normalize(std::span<T> row, const RowPosition& where) const {
        const T lse = detail::row_logsumexp(std::span<const T>(row));
        for (T& s : row) s = weight(s, where.head);
        return lse;
    }
    template <class S>
    S weight_backward(S p, S dp, Index head, Sigmoid* gradient) const {
        const S ds = dp * p * (S(1) - p);
        if (gradient != nullptr) detail::at_head(gradient->bias, head) += static_cast<double>(sum(ds));
        return ds;
    }
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T, const RowPosition& where, Sigmoid* gradient) const {
        for (std::size_t j = 0; j < p.size(); ++j) dp[j] = weight_backward(p[j], dp[j], where.head, gradient);
    }
};

/// `>> sigmoid(-std::log(n))`, or a vector of biases, one a head, copied.
template <class Bias>
Sigmoid<detail::PerHeadOf<Bias>> sigmoid(const Bias& bias) {
    return {detail::store_per_head(bias)};
}

}  // namespace attend

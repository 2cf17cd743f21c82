#pragma once
/// \file
/// Sigmoid attention.

#include <cmath>
#include <span>

#include <attend/core/concepts.hpp>
#include <attend/core/per_head.hpp>
#include <attend/softmax/softmax.hpp>

namespace attend {

/// p = σ(s + bias), each pair on its own: no row sum (Ramapuram et al. 2024, who advise a bias of −log n_kv). The bias
/// trains; it is one for all heads or one a head. The LSE is that of the scores, without the bias.
template <class Bias>
struct Sigmoid {
    static constexpr Kind kind = Kind::normalizer;

    Bias bias;

    static void parameters(auto& self, auto&& visit) { visit("bias", self.bias); }
    void check(const Shape& shape) const { detail::check_per_head(bias, "sigmoid: bias", shape); }

    template <class T>
    T normalize(std::span<T> row, const RowPosition& where) const {
        using std::exp;
        const T lse = detail::row_logsumexp(std::span<const T>(row));
        const T b = static_cast<T>(detail::at_head(bias, where.head));
        for (T& s : row) {
            const T x = s + b, e = exp(x < T(0) ? x : -x);  // e ≤ 1: neither branch overflows
            s = (x < T(0) ? e : T(1)) / (T(1) + e);
        }
        return lse;
    }
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T, const RowPosition& where, Sigmoid* gradient) const {
        T dbias(0);
        for (std::size_t j = 0; j < p.size(); ++j) {
            dp[j] *= p[j] * (T(1) - p[j]);
            dbias += dp[j];
        }
        if (gradient != nullptr) detail::at_head(gradient->bias, where.head) += static_cast<double>(dbias);
    }
};

/// `>> sigmoid(-std::log(n))`, or a vector of biases, one a head.
template <class Bias>
Sigmoid<detail::PerHeadOf<Bias>> sigmoid(const Bias& bias) {
    return {detail::store_per_head(bias)};
}

}  // namespace attend

#pragma once
/// \file
/// Entmax with α = 1.5.

#include <cmath>
#include <span>

#include <attend/core/concepts.hpp>
#include <attend/softmax/softmax.hpp>
#include <attend/softmax/threshold.hpp>

namespace attend::inline ATTEND_ABI {

/// p = max(s/2 − τ, 0)²: between softmax and sparsemax, with exact zeros (Peters, Niculae and Martins 2019). The LSE is
/// that of the scores.
struct Entmax15 {
    static constexpr Kind kind = Kind::normalizer;

    auto spelled(const auto& say) const { return say("entmax15"); }

    template <class T>
    T normalize(std::span<T> row, const RowPosition&) const {
        const T lse = detail::row_logsumexp(std::span<const T>(row));
        for (T& s : row) s /= T(2);
        detail::threshold_row<2>(row);
        return lse;
    }
    /// ds = √p (dp − Σ √p dp / Σ √p).
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T, const RowPosition&, Entmax15*) const {
        using std::sqrt;
        T roots(0), sum(0);
        for (std::size_t j = 0; j < p.size(); ++j) {
            if (p[j] == T(0)) continue;
            const T root = sqrt(p[j]);
            roots += root;
            sum += root * dp[j];
        }
        for (std::size_t j = 0; j < p.size(); ++j) dp[j] = p[j] != T(0) ? sqrt(p[j]) * (dp[j] - sum / roots) : T(0);
    }
};
/// `attention >> entmax15`.
inline constexpr Entmax15 entmax15{};

}  // namespace attend

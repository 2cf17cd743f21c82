#pragma once
/// \file
/// Sparsemax.

#include <span>

#include <attend/core/concepts.hpp>
#include <attend/softmax/softmax.hpp>
#include <attend/softmax/threshold.hpp>

namespace attend::inline ATTEND_ABI {

/// The Euclidean projection of the scores onto the simplex, p = max(s − τ, 0): exact zeros (Martins and Astudillo
/// 2016). The LSE is that of the scores.
struct Sparsemax {
    static constexpr Kind kind = Kind::normalizer;

    auto spelled(const auto& say) const { return say("sparsemax"); }

    template <class T>
    T normalize(std::span<T> row, const RowPosition&) const {
        const T lse = detail::row_logsumexp(std::span<const T>(row));
        detail::threshold_row<1>(row);
        return lse;
    }
    /// ds = dp − mean of dp on the support, 0 elsewhere.
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T, const RowPosition&, Sparsemax*) const {
        T count(0), sum(0);
        for (std::size_t j = 0; j < p.size(); ++j) {
            if (p[j] != T(0)) count += T(1), sum += dp[j];
        }
        for (std::size_t j = 0; j < p.size(); ++j) dp[j] = p[j] != T(0) ? dp[j] - sum / count : T(0);
    }
};
/// `attention >> sparsemax`.
inline constexpr Sparsemax sparsemax{};

}  // namespace attend

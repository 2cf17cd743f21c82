#pragma once
/// \file
/// ALiBi: attention with linear biases.

#include <cmath>

#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/core/math.hpp>
#include <attend/core/per_head.hpp>

namespace attend::inline ATTEND_ABI {

/// s ↦ s − slope · (query − key), with one slope for all heads or one a head (Press et al. 2022). Slopes train.
template <class Slope>
struct Alibi {
    static constexpr Kind kind = Kind::modifier;

    Slope slope;  ///< double, or a vector with one slope a head

    static void parameters(auto& self, auto&& visit) { visit("slope", self.slope); }
    auto spelled(const auto& say) const { return say("alibi", slope); }
    void check(const Shape& shape) const { detail::check_per_head(slope, "alibi: slope", shape); }

    auto operator()(auto s, auto p) const {
        using V = detail::ValueOf<decltype(s)>;
        return detail::minus_product(s, V(detail::at_head(slope, p.head)), V(p.query - p.key));
    }
    template <class S, class P>
    void backward(S, const P& p, S ds_out, Alibi& gradient) const {
        detail::at_head(gradient.slope, p.head) -= static_cast<double>(sum(ds_out * S(p.query - p.key)));
    }
};

/// `alibi(0.125f)`, or `alibi(alibi_slopes(heads))`; a vector is copied.
template <class Slope>
Alibi<detail::PerHeadOf<Slope>> alibi(const Slope& slope) {
    return {detail::store_per_head(slope)};
}

/// The paper's slopes: with n = 2^⌊log2 heads⌋, 2^(−8(h+1)/n) for h < n, then 2^(−4(2(h−n)+1)/n). Throws unless there
/// is a head.
inline Eigen::VectorXd alibi_slopes(Index heads) {
    detail::require(heads > 0, "alibi_slopes: needs at least one head, got ", heads);
    Index n = 1;
    while (2 * n <= heads) n *= 2;
    Eigen::VectorXd slopes(heads);
    for (Index h = 0; h < heads; ++h) {
        const double exponent = h < n ? -8.0 * static_cast<double>(h + 1) : -4.0 * static_cast<double>(2 * (h - n) + 1);
        slopes[h] = std::exp2(exponent / static_cast<double>(n));
    }
    return slopes;
}

}  // namespace attend

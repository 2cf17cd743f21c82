#pragma once
/// \file
/// Soft cap.

#include <cmath>

#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/math.hpp>

namespace attend::inline ATTEND_ABI {

/// s ↦ cap · tanh(s / cap): scores stay within ±cap (Bello et al. 2016; Gemma 2, 2024). The cap trains.
struct SoftCap {
    static constexpr Kind kind = Kind::modifier;

    double cap = 1.0;  ///< above 0

    static void parameters(auto& self, auto&& visit) { visit("cap", self.cap); }
    auto spelled(const auto& say) const { return say("soft_cap", cap); }

    auto operator()(auto s, auto) const {
        using std::tanh;
        const auto c = static_cast<detail::ValueOf<decltype(s)>>(cap);
        return c * tanh(s / c);
    }
    /// ∂/∂cap = tanh(x) − x (1 − tanh² x), x = s / cap; ±1 at infinite scores.
    template <class S, class P>
    void backward(S s, const P&, S ds_out, SoftCap& gradient) const {
        using std::tanh;
        const S x = s / S(cap), t = tanh(x), slope = S(1) - t * t;
        gradient.cap += static_cast<double>(sum(ds_out * select(slope > S(0), t - x * slope, t)));
    }
};

/// `soft_cap(30)`. Throws unless the cap is above 0.
inline SoftCap soft_cap(double cap) {
    detail::require(cap > 0, "soft_cap: the cap must be above 0, got ", cap);
    return {cap};
}

}  // namespace attend

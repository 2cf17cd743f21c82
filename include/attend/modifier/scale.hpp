#pragma once
/// \file
/// Multiplies scores.

#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/core/math.hpp>
#include <attend/core/per_head.hpp>

namespace attend::inline ATTEND_ABI {

/// s ↦ factor · s, with a factor that trains, for all heads or one a head: a learned temperature is 1 / factor.
template <class Factor>
struct Scale {
    static constexpr Kind kind = Kind::modifier;

    Factor factor;  ///< double, or a vector with one factor a head

    static void parameters(auto& self, auto&& visit) { visit("factor", self.factor); }
    auto spelled(const auto& say) const { return say("scale", factor); }
    void check(const Shape& shape) const { detail::check_per_head(factor, "scale: factor", shape); }

    constexpr auto operator()(auto s, auto p) const {
        return s * detail::ValueOf<decltype(s)>(detail::at_head(factor, p.head));
    }
    template <class S, class P>
    void backward(S s, const P& p, S ds_out, Scale& gradient) const {
        detail::at_head(gradient.factor, p.head) += static_cast<double>(sum(ds_out * s));
    }
};

/// `scale(0.5)`, or a vector of factors, one a head, copied.
template <class Factor>
constexpr Scale<detail::PerHeadOf<Factor>> scale(const Factor& factor) {
    return {detail::store_per_head(factor)};
}

}  // namespace attend

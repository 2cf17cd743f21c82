#pragma once
/// \file
/// Adaptive attention span.

#include <cmath>
#include <limits>

#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/core/math.hpp>
#include <attend/core/per_head.hpp>

namespace attend::inline ATTEND_ABI {

/// Multiplies a weight by m = clamp((ramp + span − |query − key|) / ramp, 0, 1) before the row is normalised, that is
/// s ↦ s + log m, with a span that trains, for all heads or one a head (Sukhbaatar et al. 2019). Beyond span + ramp the
/// weight is 0.
template <class Span>
struct AdaptiveSpan {
    static constexpr Kind kind = Kind::modifier;

    Span span;          ///< in tokens
    double ramp = 1.0;  ///< in tokens, a constant of the model

    static void parameters(auto& self, auto&& visit) { visit("span", self.span); }
    auto spelled(const auto& say) const { return say("adaptive_span", span, ramp); }
    void check(const Shape& shape) const { detail::check_per_head(span, "adaptive_span: span", shape); }

    auto operator()(auto s, auto p) const {
        using std::log;
        using V = detail::ValueOf<decltype(s)>;
        const auto m = reached<V>(p), zero = V(0), one = V(1);
        const V inside = select(m > zero, m, one);
        return select(m > zero, select(m < one, s + log(inside), s), V(-std::numeric_limits<double>::infinity()));
    }
    template <class S, class P>
    void backward(S, const P& p, S ds_out, AdaptiveSpan& gradient) const {
        const S m = reached<S>(p), zero(0);
        const S dspan = select(m > zero, select(m < S(1), ds_out / (m * S(ramp)), zero), zero);
        detail::at_head(gradient.span, p.head) += static_cast<double>(sum(dspan));
    }

private:
    template <class S, class P>
    S reached(const P& p) const {
        using std::abs;
        return (S(ramp + detail::at_head(span, p.head)) - abs(S(p.query - p.key))) / S(ramp);
    }
};

/// `adaptive_span(100.0, 32.0)`, or a vector of spans, one a head, copied. Throws unless the ramp is above 0.
template <class Span>
AdaptiveSpan<detail::PerHeadOf<Span>> adaptive_span(const Span& span, double ramp) {
    detail::require(ramp > 0, "adaptive_span: the ramp must be above 0, got ", ramp);
    return {detail::store_per_head(span), ramp};
}

}  // namespace attend

#pragma once
/// \file
/// Multiplies scores.

#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/core/math.hpp>

namespace attend::inline ATTEND_ABI {

/// s ↦ factor · s, with a factor that trains (a learned inverse temperature).
struct Scale {
    static constexpr Kind kind = Kind::modifier;

    double factor = 1.0;

    static void parameters(auto& self, auto&& visit) { visit("factor", self.factor); }

    constexpr auto operator()(auto s, auto) const { return s * detail::ValueOf<decltype(s)>(factor); }
    template <class S, class P>
    void backward(S s, const P&, S ds_out, Scale& gradient) const {
        gradient.factor += static_cast<double>(sum(ds_out * s));
    }
};

constexpr Scale scale(double factor) { return {factor}; }

}  // namespace attend

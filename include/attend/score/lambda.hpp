#pragma once
/// \file
/// A score from a user's formula.

#include <utility>

#include <attend/core/concepts.hpp>

namespace attend::inline ATTEND_ABI {

/// s = Σ_a f(q_a, k_a), for q and k of one width. f is a generic formula `(auto q, auto k)` of two features; dual
/// numbers give its derivatives, so the score trains.
template <class F>
struct LambdaScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::elementwise;

    ATTEND_NO_UNIQUE_ADDRESS F formula;  ///< f

    auto spelled(const auto& say) const { return say("score", "..."); }

    template <class X>
    X pair(const X& q, const X& k, Index) const {
        return static_cast<X>(formula(q, k));
    }
};

}  // namespace attend

#pragma once
/// \file
/// A modifier from a user's formula.

#include <concepts>
#include <utility>

#include <attend/core/concepts.hpp>

namespace attend::inline ATTEND_ABI {

/// s ↦ f(s, p), where p has `query`, `key`, `row`, `head`, `kv_head` and `sequence`. Written once as `(auto s, auto
/// p)`, it trains: dual numbers give its derivative in s. With a plain scalar type instead of `auto` it serves forward
/// calls only.
template <class F>
struct LambdaModifier {
    static constexpr Kind kind = Kind::modifier;

    ATTEND_NO_UNIQUE_ADDRESS F formula;  ///< f

    auto spelled(const auto& say) const { return say("modifier", "..."); }

    template <class S, class P>
        requires std::invocable<const F&, S, P>
    S operator()(const S& s, const P& p) const {
        return static_cast<S>(formula(s, p));
    }
};

/// `modifier([](auto s, auto p) { return s - 0.1f * tanh(decltype(s)(p.query - p.key)); })`. The formula is held; what
/// it captures by reference must outlive the attention's calls.
template <class F>
LambdaModifier<F> modifier(F formula) {
    static_assert(std::invocable<const F&, float, Position>,
                  "attend: a modifier is a formula of a score and its position: [](auto s, auto p) { … }");
    return {std::move(formula)};
}

}  // namespace attend

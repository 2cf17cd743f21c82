#pragma once
/// \file
/// A mask from a user's predicate.

#include <concepts>
#include <utility>

#include <attend/core/concepts.hpp>

namespace attend::inline ATTEND_ABI {

/// Keeps the pairs for which `keep(Position)` is true.
template <class F>
struct LambdaMask {
    static constexpr Kind kind = Kind::mask;

    ATTEND_NO_UNIQUE_ADDRESS F keep;  ///< the predicate

    auto spelled(const auto& say) const { return say("mask", "..."); }

    bool operator()(const Position& p) const { return static_cast<bool>(keep(p)); }
};

/// `mask([](Position p) { return p.key % 2 == 0 || p.key == p.query; })`. The predicate is held; what it captures by
/// reference must outlive the attention's calls.
template <class F>
LambdaMask<F> mask(F keep) {
    static_assert(std::predicate<const F&, Position>,
                  "attend: a mask is a predicate of a position: [](Position p) { return …; }");
    return {std::move(keep)};
}

}  // namespace attend

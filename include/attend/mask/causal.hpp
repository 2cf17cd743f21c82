#pragma once
/// \file
/// Causal mask.

#include <attend/core/concepts.hpp>
#include <attend/core/lanes.hpp>

namespace attend::inline ATTEND_ABI {

/// Keeps key ≤ query, in absolute positions.
struct Causal {
    static constexpr Kind kind = Kind::mask;

    auto spelled(const auto& say) const { return say("causal"); }

    constexpr bool operator()(const Position& p) const { return p.key <= p.query; }
    template <detail::PackPosition P>
    ATTEND_ALWAYS_INLINE auto operator()(const P& p) const {
        return p.key <= p.query;
    }
    constexpr Cover cover(const Tile& t) const {
        if (t.key_end - 1 <= t.query_begin) return Cover::all;
        return t.key_begin <= t.query_end - 1 ? Cover::some : Cover::none;
    }
};
/// `attention >> causal`.
inline constexpr Causal causal{};

}  // namespace attend

#pragma once
/// \file
/// Prefix mask.

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>

namespace attend::inline ATTEND_ABI {

/// Keeps the first `length` keys for every query: `causal | prefix(n)` is a prefix language model's mask.
struct Prefix {
    static constexpr Kind kind = Kind::mask;

    Index length = 0;  ///< keys

    auto spelled(const auto& say) const { return say("prefix", length); }

    constexpr bool operator()(const Position& p) const { return p.key < length; }
    constexpr Cover cover(const Tile& t) const {
        return t.key_end <= length ? Cover::all : t.key_begin < length ? Cover::some : Cover::none;
    }
};

/// `prefix(length)`. Throws where it is negative.
inline Prefix prefix(Index length) {
    detail::require(length >= 0, "prefix: the length must not be negative, got ", length);
    return {length};
}

}  // namespace attend

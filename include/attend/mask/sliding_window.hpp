#pragma once
/// \file
/// Sliding window mask.

#include <algorithm>
#include <limits>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>

namespace attend::inline ATTEND_ABI {

/// Keeps −right ≤ query − key ≤ left, in absolute positions.
struct SlidingWindow {
    static constexpr Kind kind = Kind::mask;
    /// Farther than two positions can be from each other, and near enough for their difference to be compared with it.
    static constexpr Index unbounded = std::numeric_limits<Index>::max() / 2;

    Index left = unbounded, right = unbounded;  ///< keys before and behind the query

    auto spelled(const auto& say) const {
        if (left != unbounded && right == unbounded) return say("sliding_window", left + 1);
        return say("sliding_window", left == unbounded ? -1 : left, right == unbounded ? -1 : right);
    }

    void check(const Shape&) const {
        detail::require(-unbounded <= left && left <= unbounded && -unbounded <= right && right <= unbounded,
                        "sliding_window: widths must be from -", unbounded, " to ", unbounded, ", got left ", left,
                        " and right ", right);
    }
    constexpr bool operator()(const Position& p) const { return -right <= p.query - p.key && p.query - p.key <= left; }
    template <detail::PackPosition P>
    ATTEND_ALWAYS_INLINE auto operator()(const P& p) const {
        return (-right <= p.query - p.key) & (p.query - p.key <= left);
    }
    constexpr Cover cover(const Tile& t) const {
        const Index least = t.query_begin - (t.key_end - 1), most = t.query_end - 1 - t.key_begin;  // of query − key
        if (-right <= least && most <= left) return Cover::all;
        return most < -right || left < least ? Cover::none : Cover::some;
    }
};

/// Keeps query − key < n: with `causal`, the n latest keys, the query's own included. Throws unless n > 0.
inline SlidingWindow sliding_window(Index n) {
    detail::require(n > 0, "sliding_window: the window must hold at least one key, got ", n);
    return {std::min(n - 1, SlidingWindow::unbounded), SlidingWindow::unbounded};
}
/// Keeps −right ≤ query − key ≤ left; −1 leaves a side unbounded, other negative widths throw.
inline SlidingWindow sliding_window(Index left, Index right) {
    detail::require(left >= -1 && right >= -1,
                    "sliding_window: widths must be at least 0, or -1 for unbounded, got left ", left, " and right ",
                    right);
    const auto width = [](Index n) {
        return n == -1 ? SlidingWindow::unbounded : std::min(n, SlidingWindow::unbounded);
    };
    return {width(left), width(right)};
}

}  // namespace attend

#pragma once
/// \file
/// Document mask: several texts packed into one sequence.

#include <algorithm>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>

namespace attend::inline ATTEND_ABI {

namespace detail {

/// What is asked of documents whose offsets, one at least, stand anywhere.
struct DocumentOffsets {
    static constexpr Kind kind = Kind::mask;

    std::span<const Index> offsets;

    bool operator()(const Position& p) const {
        const auto end = after(p.query);
        return inside(end) && *(end - 1) <= p.key && p.key < *end;
    }
    template <class T>
    LaneMask<T> operator()(const LanePosition<T>& p) const {
        return beside<T>(p.key, p.query);
    }
    template <class T>
    LaneMask<T> operator()(const KeyLanePosition<T>& p) const {
        return beside<T>(p.query, p.key);
    }
    Cover cover(const Tile& t) const {
        const auto first = after(t.query_begin),
                   last = t.query_end - 1 == t.query_begin ? first : after(t.query_end - 1);
        if (first == last && inside(first) && *(first - 1) <= t.key_begin && t.key_end <= *first) return Cover::all;
        // The keys that any of the queries can see lie between the begin of the first one's document and the end of the
        // last one's.
        const Index key_begin = first == offsets.begin() ? offsets.front() : *(first - 1);
        const Index key_end = last == offsets.end() ? offsets.back() : *last;
        const bool apart =
            last == offsets.begin() || first == offsets.end() || t.key_end <= key_begin || key_end <= t.key_begin;
        return apart ? Cover::none : Cover::some;
    }

private:
    using Iterator = std::span<const Index>::iterator;
    Iterator after(Index position) const { return std::upper_bound(offsets.begin(), offsets.end(), position); }
    bool inside(Iterator end) const { return end != offsets.begin() && end != offsets.end(); }
    /// Which positions are in the document of another.
    template <class T>
    LaneMask<T> beside(Index one, const LaneIndex<T>& others) const {
        const auto end = after(one);
        if (!inside(end)) return LaneMask<T>(false);
        return (*(end - 1) <= others) & (others < *end);
    }
};

}  // namespace detail

/// Keeps pairs within one document. Documents are contiguous ranges of absolute positions; a position outside all of
/// them belongs to none and sees nothing.
struct Documents {
    static constexpr Kind kind = Kind::mask;

    std::vector<Index> offsets;  ///< where documents begin, then the end of the last

    /// What `documents(offsets)` makes; throws where it would.
    explicit Documents(std::vector<Index> offsets_) : offsets(std::move(offsets_)) { check({}); }

    auto spelled(const auto& say) const { return say("documents", offsets); }
    void check(const Shape&) const {
        detail::require(!offsets.empty(),
                        "documents: needs offsets: where each document begins, then the end of the last");
        for (std::size_t i = 1; i < offsets.size(); ++i) {
            detail::require(offsets[i - 1] <= offsets[i], "documents: offsets must not decrease, but ", offsets[i],
                            " follows ", offsets[i - 1]);
        }
    }

    bool operator()(const Position& p) const { return asked()(p); }
    template <detail::PackPosition P>
    auto operator()(const P& p) const {
        return asked()(p);
    }
    Cover cover(const Tile& t) const { return asked().cover(t); }

private:
    detail::DocumentOffsets asked() const { return {offsets}; }
};

/// `documents({0, 17, 40})`: positions 0–16 and 17–39. Holds the offsets. Throws where there are none, or where they
/// decrease.
/// @{
inline Documents documents(std::initializer_list<Index> offsets) { return Documents(std::vector<Index>(offsets)); }
inline Documents documents(std::vector<Index> offsets) { return Documents(std::move(offsets)); }
/// @}

}  // namespace attend

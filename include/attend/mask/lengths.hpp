#pragma once
/// \file
/// Valid lengths: padding is masked.

#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>

namespace attend::inline ATTEND_ABI {

namespace detail {

/// What is asked of lengths that stand anywhere.
struct SequenceLengths {
    static constexpr Kind kind = Kind::mask;

    std::span<const Index> length;

    bool operator()(const Position& p) const { return p.key < of(p.sequence); }
    template <class T>
    LaneMask<T> operator()(const LanePosition<T>& p) const {
        return LaneMask<T>(p.key < of(p.sequence));
    }
    template <class T>
    LaneMask<T> operator()(const KeyLanePosition<T>& p) const {
        return p.key < of(p.sequence);
    }
    Cover cover(const Tile& t) const {
        const Index n = of(t.sequence);
        return t.key_end <= n ? Cover::all : t.key_begin < n ? Cover::some : Cover::none;
    }

private:
    Index of(Index sequence) const { return length[static_cast<std::size_t>(sequence)]; }
};

}  // namespace detail

/// Keeps the first `length[sequence]` keys of each sequence.
struct Lengths {
    static constexpr Kind kind = Kind::mask;

    std::vector<Index> length;  ///< keys, by sequence

    /// What `lengths(…)` makes; throws where it would.
    explicit Lengths(std::vector<Index> length_) : length(std::move(length_)) {
        for (const Index n : length) detail::require(n >= 0, "lengths: a length must not be negative, got ", n);
    }

    auto spelled(const auto& say) const { return say("lengths", length); }
    void check(const Shape& shape) const {
        detail::require(static_cast<Index>(length.size()) == shape.sequences, "lengths: ", length.size(),
                        " lengths for ", shape.sequences, " sequences");
        for (const Index n : length) {
            detail::require(n <= shape.keys, "lengths: a length of ", n, " is more than the ", shape.keys, " keys");
        }
    }
    bool operator()(const Position& p) const { return asked()(p); }
    template <detail::PackPosition P>
    auto operator()(const P& p) const {
        return asked()(p);
    }
    Cover cover(const Tile& t) const { return asked().cover(t); }

private:
    detail::SequenceLengths asked() const { return {length}; }
};

/// `lengths({17, 40})`: one valid number of keys for each sequence of the batch. Holds the lengths. Throws
/// where one is negative; a call throws unless there is one for each sequence, and none beyond its keys.
/// @{
inline Lengths lengths(std::initializer_list<Index> length) { return Lengths(std::vector<Index>(length)); }
inline Lengths lengths(std::vector<Index> length) { return Lengths(std::move(length)); }
/// @}

}  // namespace attend

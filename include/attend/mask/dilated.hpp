#pragma once
/// \file
/// Dilated mask: one key in several.

#include <cstdint>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/positions.hpp>

namespace attend::inline ATTEND_ABI {

/// Keeps the keys whose distance from the query is a multiple of a step (Child 2019, LongNet): within a window,
/// `dilated(4) & sliding_window(256)` or `dilated(4) & sliding_window(128, 128)`.
class Dilated {
public:
    static constexpr Kind kind = Kind::mask;

    /// What `dilated(step)` makes; throws where it would.
    explicit Dilated(Index step) : step_(step) {
        detail::require(step > 0, "dilated: the step must be at least 1, got ", step);
        detail::check_position("dilated: step", step);
        for (Index lane = 0; lane < 64; lane += step) every_ |= std::uint64_t{1} << lane;
    }

    auto spelled(const auto& say) const { return say("dilated", step_); }
    bool operator()(const Position& p) const { return (p.query - p.key) % step_ == 0; }
    template <class T>
    LaneMask<T> operator()(const LanePosition<T>& p) const {
        if (!detail::are_tile(p))
            return LaneMask<T>::each([&](Index lane) { return (*this)(detail::scalar_position(p, lane)); });
        return from_lane<T>(above(p.key - p.query.first));
    }
    template <class T>
    LaneMask<T> operator()(const KeyLanePosition<T>& p) const {
        return from_lane<T>(above(p.query - p.key.first));
    }
    Cover cover(const Tile& t) const {
        if (step_ == 1) return Cover::all;
        const Index least = t.query_begin - (t.key_end - 1), most = t.query_end - 1 - t.key_begin;  // of query − key
        if (least + above(-least) > most) return Cover::none;
        return least == most ? Cover::all : Cover::some;
    }

private:
    /// The remainder, from 0 on, whatever the sign of the distance.
    Index above(Index distance) const {
        const Index rest = distance % step_;
        return rest < 0 ? rest + step_ : rest;
    }
    /// One lane in so many, from one on.
    template <class T>
    LaneMask<T> from_lane(Index lane) const {
        return LaneMask<T>(detail::simd::mask_of_bits<T>(lane < 64 ? every_ << lane : 0));
    }

    Index step_;
    std::uint64_t every_ = 0;  ///< a bit in so many
};

/// `dilated(4)`. Throws unless the step is at least 1.
inline Dilated dilated(Index step) { return Dilated(step); }

}  // namespace attend

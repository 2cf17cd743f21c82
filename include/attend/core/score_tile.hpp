#pragma once
/// \file
/// The scores of a tile of keys, as a fold meets them: packs of whichever runs in lanes, queries or keys.

#include <algorithm>
#include <limits>

#include <attend/core/lanes.hpp>

namespace attend::inline ATTEND_ABI {

/// The scores of a packet of rows, which stand in its lanes, with the keys of a tile, key after key. What is said of
/// rows is `Lanes<T>` here.
template <class T, bool whole = true>
class LaneScores {
public:
    /// s[key · stride + lane]; `largest` by lane is the largest score of the tile. Of less than a whole packet the
    /// first `count` lanes are written.
    LaneScores(T* s, Index stride, Index keys, const T* largest, Index count = detail::simd::width<T>)
        : s_(s), stride_(stride), keys_(keys), count_(count), largest_(load(largest)) {}

    /// The largest score, by row.
    Lanes<T> largest() const { return Lanes<T>::of(largest_); }
    /// Puts f(s) in the place of each score s. Returns their sums, by row.
    template <class F>
    ATTEND_ALWAYS_INLINE Lanes<T> replace(F&& f) const {
        auto sum = detail::simd::broadcast(T(0));
        T* at = s_;
        for (Index j = 0; j < keys_; ++j, at += stride_) {
            const auto x = f(Lanes<T>::of(load(at))).packet;
            whole ? detail::simd::store(at, x) : detail::simd::store<T>(at, x, count_);
            sum = detail::simd::add(sum, x);
        }
        return Lanes<T>::of(sum);
    }

private:
    detail::simd::Packet<T> load(const T* from) const {
        return whole ? detail::simd::load(from) : detail::simd::load(from, count_, T(0));
    }

    T* s_;
    Index stride_, keys_, count_;
    detail::simd::Packet<T> largest_;
};

/// The same for a fold that shall not change what stands there, but see it.
template <class T>
class SeenLaneScores {
public:
    /// s[key · stride + lane]; `largest` by lane is the largest score of the tile.
    SeenLaneScores(const T* s, Index stride, Index keys, const T* largest)
        : s_(s), stride_(stride), keys_(keys), largest_(detail::simd::load(largest)) {}

    Lanes<T> largest() const { return Lanes<T>::of(largest_); }
    template <class F>
    ATTEND_ALWAYS_INLINE Lanes<T> replace(F&& f) const {
        auto sum = detail::simd::broadcast(T(0));
        for (Index j = 0; j < keys_; ++j)
            sum = detail::simd::add(sum, f(Lanes<T>::of(detail::simd::load(s_ + j * stride_))).packet);
        return Lanes<T>::of(sum);
    }

private:
    const T* s_;
    Index stride_, keys_;
    detail::simd::Packet<T> largest_;
};

/// The scores of one row, whose keys stand in lanes and follow each other. What is said of rows is T here; f is given
/// `Lanes<T>`. Whole packets are written, up to the next multiple of their width: a load of what was written through a
/// mask would wait for the cache.
template <class T>
class RowScores {
public:
    /// s[key].
    RowScores(T* s, Index keys) : s_(s), keys_(keys) {}

    T largest() const {
        constexpr T lowest = std::numeric_limits<T>::lowest();
        auto most = detail::simd::broadcast(lowest);
        for_each([&](const T* at, Index n)
                     ATTEND_ALWAYS_INLINE { most = detail::simd::max(most, detail::simd::load(at, n, lowest)); });
        return detail::simd::largest<T>(most);
    }
    template <class F>
    ATTEND_ALWAYS_INLINE T replace(F&& f) const {
        auto sum = detail::simd::broadcast(T(0));
        for_each([&](T* at, Index n) ATTEND_ALWAYS_INLINE {
            const auto s = detail::simd::load(at, n, -std::numeric_limits<T>::infinity());
            const auto x = f(Lanes<T>::of(s)).packet;
            detail::simd::store(at, x);
            sum = detail::simd::add(sum, x);
        });
        return detail::simd::sum_by_halves<T>(sum);
    }

private:
    template <class F>
    ATTEND_ALWAYS_INLINE void for_each(F&& f) const {
        constexpr Index w = detail::simd::width<T>;
        Index j = 0;
        for (; j + w <= keys_; j += w) f(s_ + j, w);
        if (j < keys_) f(s_ + j, keys_ - j);
    }

    T* s_;
    Index keys_;
};

/// The scores of several rows of few keys, which stand beside each other in a packet: in groups of lanes, a power of
/// two. What is said of rows is `Lanes<T>`, in all lanes of a group the same.
template <class T>
class GroupScores {
public:
    detail::simd::Packet<T> packet;  ///< −∞ where there is no key

    /// A packet of scores, and how many lanes a row has.
    GroupScores(const detail::simd::Packet<T>& s, Index group) : packet(s), group_(group) {}

    ATTEND_ALWAYS_INLINE Lanes<T> largest() const {
        constexpr T lowest = std::numeric_limits<T>::lowest();
        const auto scores = detail::simd::max(detail::simd::broadcast(lowest), packet);
        return Lanes<T>::of(detail::simd::largest_of_groups<T>(scores, group_));
    }
    template <class F>
    ATTEND_ALWAYS_INLINE Lanes<T> replace(F&& f) {
        packet = f(Lanes<T>::of(packet)).packet;
        return Lanes<T>::of(detail::simd::sums_of_groups<T>(packet, group_));
    }

private:
    Index group_;
};

}  // namespace attend

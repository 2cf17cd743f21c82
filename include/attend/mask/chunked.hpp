#pragma once
/// \file
/// Chunked local mask.

#include <algorithm>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/positions.hpp>

namespace attend::inline ATTEND_ABI {

/// Cuts positions into chunks of one size, from 0 on, and keeps the keys of the query's own chunk and of `before`
/// chunks before it. Chunked local attention is `chunked(n) & causal`; T5's and Longformer's blocks have `before` 1.
class Chunked {
public:
    static constexpr Kind kind = Kind::mask;

    /// What `chunked(size, before)` makes; throws where it would.
    Chunked(Index size, Index before) : size_(size), before_(before) {
        detail::require(size > 0, "chunked: a chunk must hold at least one key, got ", size);
        detail::require(before >= 0, "chunked: the chunks before the query's must be at least 0, got ", before);
        detail::check_position("chunked: size", size);
        detail::check_position("chunked: before", before);
        // Farther than any two positions are apart, which no product may exceed.
        before_ = std::min(before, 2 * detail::most_position / size + 1);
    }

    auto spelled(const auto& say) const { return say("chunked", size_, say.when(before_ != 0, before_)); }
    bool operator()(const Position& p) const { return sees(chunk(p.query), chunk(p.key)); }
    template <class T>
    LaneMask<T> operator()(const LanePosition<T>& p) const {
        const Index key = chunk(p.key);  // a key is seen from its chunk and as many behind it
        return (key * size_ <= p.query) & (p.query < (key + before_ + 1) * size_);
    }
    template <class T>
    LaneMask<T> operator()(const KeyLanePosition<T>& p) const {
        const Index query = chunk(p.query);
        return ((query - before_) * size_ <= p.key) & (p.key < (query + 1) * size_);
    }
    Cover cover(const Tile& t) const {
        const Index first = chunk(t.query_begin), last = chunk(t.query_end - 1);
        const Index key_first = chunk(t.key_begin), key_last = chunk(t.key_end - 1);
        if (sees(last, key_first) && sees(first, key_last)) return Cover::all;
        return key_last < first - before_ || last < key_first ? Cover::none : Cover::some;
    }

private:
    Index chunk(Index position) const { return position >= 0 ? position / size_ : -((size_ - 1 - position) / size_); }
    bool sees(Index query, Index key) const { return query - before_ <= key && key <= query; }

    Index size_, before_;
};

/// `chunked(256)`, or `chunked(256, 1)`. Throws unless the chunks hold a key and `before` is at least 0.
inline Chunked chunked(Index size, Index before = 0) { return {size, before}; }

}  // namespace attend

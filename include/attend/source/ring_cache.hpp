#pragma once
/// \file
/// A cache of the latest keys and values of an endless stream.

#include <algorithm>
#include <limits>
#include <vector>

#include <attend/core/errors.hpp>
#include <attend/core/positions.hpp>
#include <attend/source/kv_cache.hpp>

namespace attend::inline ATTEND_ABI {

/// What a ring holds.
struct RingCacheShape {
    Index heads = 1;      ///< key/value heads
    Index d_k = 0;        ///< features of a key of one head, as the attention's score makes them
    Index d_v = 0;        ///< of a value; 0: as many
    Index keys = 0;       ///< so many of the latest keys of a sequence
    Index sinks = 0;      ///< and so many of its first ones, for good (attention sinks: Xiao et al. 2023)
    Index sequences = 1;  ///< each with a stream of its own
};

/// As `KvCache`, of streams without an end: the latest keys, and the first few, at the positions that they have in the
/// stream. The queries of a call stand at those of its latest keys. What a call appends is there when its queries look:
/// m tokens at once under `causal & sliding_window(w)` need a ring of at least w + m − 1 keys to see what they would
/// see one by one. Twice the memory of its latest keys, since each stands twice, so that all of them are in one piece.
template <class T, class Stored = T>
class RingCache {
public:
    static constexpr Kind kind = Kind::source;
    static_assert(std::is_same_v<T, Compute<T>>,
                  "attend: a cache's T is what calls compute in: float for 16-bit models");

    /// All sequences empty. Throws where the shape is none, or holds more than any memory.
    explicit RingCache(const RingCacheShape& shape)
        : shape_(shape),
          rows_({.heads = shape.heads,
                 .d_k = shape.d_k,
                 .d_v = shape.d_v,
                 .capacity = capacity_of(shape),
                 .sequences = shape.sequences}) {
        shape_.d_v = rows_.value_width();
        totals_.assign(static_cast<std::size_t>(shape.sequences), 0);
    }

    /// What it was made for, defaults filled in.
    const RingCacheShape& shape() const { return shape_; }
    Index sequences() const { return shape_.sequences; }
    Index heads() const { return shape_.heads; }
    Index key_width() const { return rows_.key_width(); }
    Index value_width() const { return rows_.value_width(); }
    /// All tokens that a sequence has had. Throws where there is no such sequence.
    Index tokens(Index sequence = 0) const {
        rows_.check_sequence("tokens", sequence);
        return totals_[static_cast<std::size_t>(sequence)];
    }
    /// How many keys a sequence holds, first ones included. Throws where there is no such sequence.
    Index keys(Index sequence = 0) const { return keys_after(0, sequence); }
    /// How many keys a sequence will have when so many are appended.
    Index keys_after(Index rows, Index sequence = 0) const {
        return std::min(tokens(sequence) + rows, shape_.sinks + shape_.keys);
    }
    Index position(Index sequence, Index key) const { return key < shape_.sinks ? key : key + gone(sequence); }
    Index query_offset(Index sequence, Index queries) const { return std::max<Index>(0, tokens(sequence) - queries); }
    RowBlock<T> key_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return rows_.key_rows(sequence, head, row_of(sequence, begin), count, room);
    }
    RowBlock<T> value_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return rows_.value_rows(sequence, head, row_of(sequence, begin), count, room);
    }

    auto held_key_rows(Index sequence, Index head, Index begin, Index count) const {
        return rows_.held_key_rows(sequence, head, row_of(sequence, begin), count);
    }
    auto held_value_rows(Index sequence, Index head, Index begin, Index count) const {
        return rows_.held_value_rows(sequence, head, row_of(sequence, begin), count);
    }

    /// Throws unless a call can append so many keys to a sequence: as many as the ring holds.
    void check_append(Index rows, Index sequence = 0) const {
        rows_.check_sequence("append", sequence);
        if (rows > shape_.keys)
            detail::refuse("ring_cache: ", rows, " tokens at once would not be seen by themselves: the ring holds ",
                           shape_.keys);
        detail::check_position("ring_cache: the stream's position", tokens(sequence) + rows);
    }
    /// Keys and values behind those of a sequence: n × heads · d_k and n × heads · d_v; of more than the ring holds,
    /// the oldest go. O(n · heads · (d_k + d_v)), and nothing from the heap. Throws, and changes nothing, where they do
    /// not fit.
    template <detail::Dense K, detail::Dense V>
    void append(const K& k, const V& v, Index sequence = 0) {
        check_append(k.rows(), sequence);
        rows_.check_rows(k, v);
        Index& total = totals_[static_cast<std::size_t>(sequence)];
        for (Index i = 0; i < k.rows(); ++i, ++total) {
            const auto put = [&](Index row) { rows_.put_at(row, k.row(i), v.row(i), sequence); };
            if (total < shape_.sinks) {
                put(total);
            } else {
                const Index slot = shape_.sinks + (total - shape_.sinks) % shape_.keys;
                put(slot), put(slot + shape_.keys);
            }
        }
    }
    /// Starts a sequence's stream anew. Throws where there is no such sequence.
    void clear(Index sequence = 0) {
        rows_.check_sequence("clear", sequence);
        totals_[static_cast<std::size_t>(sequence)] = 0;
    }

private:
    static Index capacity_of(const RingCacheShape& shape) {
        constexpr Index most = std::numeric_limits<Index>::max() / 16;
        detail::require(0 < shape.keys && shape.keys < most && 0 <= shape.sinks && shape.sinks < most,
                        "ring_cache: it must hold at least one key, and not less than no sinks, got keys ", shape.keys,
                        " and sinks ", shape.sinks);
        return shape.sinks + 2 * shape.keys;
    }
    /// So many keys behind the sinks have been overwritten.
    Index gone(Index sequence) const { return std::max<Index>(0, tokens(sequence) - shape_.sinks - shape_.keys); }
    /// Where a key stands: keys that follow each other in the stream do so from there on.
    Index row_of(Index sequence, Index key) const {
        return key < shape_.sinks ? key : shape_.sinks + gone(sequence) % shape_.keys + key - shape_.sinks;
    }

    RingCacheShape shape_;
    KvCache<T, Stored> rows_;
    std::vector<Index> totals_;
};

}  // namespace attend

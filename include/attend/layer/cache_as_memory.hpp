#pragma once
/// \file
/// A cache read as a memory is.

#include <attend/source/source.hpp>

namespace attend::inline ATTEND_ABI {

/// What `as_memory(cache)` gives: the cache's keys and values, which must stay where they are, for queries that stand
/// where the call says.
template <class Cache>
class CacheAsMemory {
public:
    static constexpr Kind kind = Kind::source;

    /// Borrows the cache.
    explicit CacheAsMemory(const Cache& cache) : cache_(&cache) {}

    Index sequences() const { return cache_->sequences(); }
    Index heads() const { return cache_->heads(); }
    Index keys(Index sequence) const { return cache_->keys(sequence); }
    Index key_width() const { return cache_->key_width(); }
    Index value_width() const { return cache_->value_width(); }
    Index position(Index sequence, Index key) const
        requires requires(const Cache& cache, Index i) { cache.position(i, i); }
    {
        return cache_->position(sequence, key);
    }
    template <class T>
    RowBlock<T> key_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return cache_->key_rows(sequence, head, begin, count, room);
    }
    template <class T>
    RowBlock<T> value_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return cache_->value_rows(sequence, head, begin, count, room);
    }
    auto held_key_rows(Index sequence, Index head, Index begin, Index count) const
        requires detail::HoldsRows<Cache>
    {
        return cache_->held_key_rows(sequence, head, begin, count);
    }
    auto held_value_rows(Index sequence, Index head, Index begin, Index count) const
        requires detail::HoldsRows<Cache>
    {
        return cache_->held_value_rows(sequence, head, begin, count);
    }

private:
    const Cache* cache_;
};

/// A cache whose keys and values are those of a memory, as an encoder's: by itself a cache takes the queries of a call
/// for its latest tokens, this one for others, which stand from the call's `.query_offset` on.
template <class Cache>
CacheAsMemory<Cache> as_memory(const Cache& cache) {
    return CacheAsMemory<Cache>(cache);
}
template <class Cache>
void as_memory(const Cache&&) {
    static_assert(sizeof(Cache) == 0,
                  "attend: as_memory of a temporary cache would be gone when it is read: give the cache a name");
}

}  // namespace attend

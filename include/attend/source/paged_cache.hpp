#pragma once
/// \file
/// A cache of keys and values in pages of a pool.

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <attend/core/errors.hpp>
#include <attend/source/page_pool.hpp>
#include <attend/source/source.hpp>

namespace attend::inline ATTEND_ABI {

/// What a cache in pages holds.
struct PagedCacheShape {
    Index sequences = 1;  ///< each with a length of its own
    Index capacity = 0;   ///< keys of a sequence at most; 0: as many as the pool holds
};

/// As `KvCache`, of sequences that take memory as they grow, page by page from a pool that other caches take theirs
/// from too (Kwon et al. 2023). A sequence can start as another one is, `fork`, without a copy: both read the same
/// pages, until one of them changes a page, which it copies then. A copy of a cache shares all its pages.
template <class T, class Stored = T>
class PagedCache {
    using Pool = PagePool<T, Stored>;
    using Rows = typename Pool::Rows;

public:
    static constexpr Kind kind = Kind::source;

    /// All sequences empty; borrows the pool. Throws where the shape is none.
    PagedCache(Pool& pool, const PagedCacheShape& shape) : pool_(&pool), shape_(shape) {
        const PagePoolShape& of = pool.shape();
        detail::require(shape_.sequences > 0 && shape_.capacity >= 0,
                        "paged_cache: sequences must be above 0 and the capacity not below, got ", shape_.sequences,
                        " sequences and capacity ", shape_.capacity);
        if (shape_.capacity == 0) shape_.capacity = of.pages * of.page_keys;
        shape_.capacity = std::min(shape_.capacity, of.pages * of.page_keys);
        sequences_.resize(static_cast<std::size_t>(shape_.sequences));
        reserve();
    }
    PagedCache(const PagedCache& other) : pool_(other.pool_), shape_(other.shape_), sequences_(other.sequences_) {
        reserve();
        for (const Sequence& s : sequences_) share(s);
    }
    PagedCache(PagedCache&& other) noexcept { swap(other); }
    PagedCache& operator=(PagedCache other) noexcept {
        swap(other);
        return *this;
    }
    ~PagedCache() {
        for (Sequence& s : sequences_) give_back(s, 0);
    }

    /// What it was made for, defaults filled in.
    const PagedCacheShape& shape() const { return shape_; }
    /// Where its pages come from.
    const Pool& pool() const { return *pool_; }
    Index sequences() const { return shape_.sequences; }
    Index heads() const { return pool_->shape().heads; }
    Index key_width() const { return pool_->shape().d_k; }
    Index value_width() const { return pool_->shape().d_v; }
    /// How many keys a sequence holds. Throws where there is no such sequence.
    Index keys(Index sequence = 0) const { return of(sequence, "keys").keys; }
    /// How many keys a sequence will have when so many are appended.
    Index keys_after(Index rows, Index sequence = 0) const { return keys(sequence) + rows; }
    Index query_offset(Index sequence, Index queries) const { return std::max<Index>(0, keys(sequence) - queries); }
    RowBlock<T> key_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return rows(pool_->keys_, sequence, head, begin, count, room);
    }
    RowBlock<T> value_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return rows(pool_->values_, sequence, head, begin, count, room);
    }
    auto held_key_rows(Index sequence, Index head, Index begin, Index count) const {
        return held(pool_->keys_, sequence, head, begin, count);
    }
    auto held_value_rows(Index sequence, Index head, Index begin, Index count) const {
        return held(pool_->values_, sequence, head, begin, count);
    }

    /// Throws unless so many keys fit behind those of a sequence.
    void check_append(Index rows, Index sequence = 0) const {
        const Sequence& s = of(sequence, "append");
        if (rows > shape_.capacity - s.keys)
            detail::refuse("paged_cache: sequence ", sequence, " holds ", s.keys, " of ", shape_.capacity, " keys, ",
                           rows, " more do not fit");
        check_pages(pages_for(s, rows));
    }
    /// Throws unless as many keys fit behind each sequence as lie between these offsets, one more than sequences.
    void check_appends(std::span<const Index> offsets) const {
        Index pages = 0;
        for (std::size_t s = 0; s < sequences_.size(); ++s) {
            const Index rows = offsets[s + 1] - offsets[s];
            pages += pages_for(sequences_[s], rows);
            if (rows == 0 || !shares_last(sequences_[s])) continue;
            // The last of those that share a page need not copy it.
            const Index page = sequences_[s].pages.back();
            Index changed = 1;
            for (std::size_t t = 0; t < s; ++t) {
                if (offsets[t + 1] > offsets[t] && shares_last(sequences_[t]) && sequences_[t].pages.back() == page)
                    ++changed;
            }
            if (changed == pool_->users(page)) --pages;
        }
        check_pages(pages);
    }
    /// Keys and values behind those of a sequence: n × heads · d_k and n × heads · d_v. O(n · heads · (d_k + d_v)), and
    /// nothing from the heap. Throws, and changes nothing, where they do not fit.
    template <detail::Dense K, detail::Dense V>
    void append(const K& k, const V& v, Index sequence = 0) {
        check_append(k.rows(), sequence);
        const auto& [heads, d_k, d_v, pages, page_keys] = pool_->shape();
        if (k.cols() != heads * d_k || v.cols() != heads * d_v || k.rows() != v.rows())
            detail::refuse("paged_cache: ", detail::named("k", k.rows(), k.cols()), " and ",
                           detail::named("v", v.rows(), v.cols()), " must have a row for each key, and ", heads,
                           " heads of ", d_k, " and of ", d_v, " columns");
        Sequence& s = sequences_[static_cast<std::size_t>(sequence)];
        for (Index i = 0; i < k.rows();) {
            const Index slot = s.keys % page_keys, count = std::min(page_keys - slot, k.rows() - i);
            if (slot == 0) {
                s.pages.push_back(pool_->take());
            } else {
                s.pages.back() = pool_->own(s.pages.back(), slot);
            }
            for (Index h = 0; h < heads; ++h) {
                const Index row = pool_->first_row(s.pages.back(), h) + slot;
                pool_->keys_.put(row, k.middleRows(i, count).middleCols(h * d_k, d_k));
                pool_->values_.put(row, v.middleRows(i, count).middleCols(h * d_v, d_v));
            }
            s.keys += count, i += count;
        }
    }
    /// Forgets all keys of a sequence but the first `length`, and gives back the pages that it needs no more.
    /// Throws where it holds fewer.
    void truncate(Index length, Index sequence = 0) {
        Sequence& s = of(sequence, "truncate");
        detail::require(0 <= length && length <= s.keys, "paged_cache: truncate: sequence ", sequence, " holds ",
                        s.keys, " keys, not ", length);
        give_back(s, length);
    }
    /// Gives back all pages of a sequence that has ended; it starts anew then. Throws where it has none, as one that
    /// has been released.
    void release(Index sequence = 0) {
        Sequence& s = of(sequence, "release");
        if (s.pages.empty())
            detail::refuse("paged_cache: release: sequence ", sequence, " holds no pages to give back");
        give_back(s, 0);
    }
    /// Makes a sequence what another one is, of this cache or of another one of the same pool, without a copy.
    /// O(pages). Throws where there is no such sequence, or where the other cache is of another pool.
    /// @{
    void fork(Index from, Index to) { fork(*this, from, to); }
    void fork(const PagedCache& other, Index from, Index to) {
        if (other.pool_ != pool_)
            detail::refuse("paged_cache: fork: the other cache's pages are of another pool: append its keys instead");
        const Sequence& source = other.of(from, "fork");
        Sequence& s = of(to, "fork");
        if (&source == &s) return;
        if (source.keys > shape_.capacity)
            detail::refuse("paged_cache: fork: sequence ", from, " holds ", source.keys, " keys, more than ",
                           shape_.capacity);
        share(source);
        give_back(s, 0);
        s.pages.insert(s.pages.end(), source.pages.begin(), source.pages.end());
        s.keys = source.keys;
    }
    /// @}

private:
    struct Sequence {
        std::vector<Index> pages;
        Index keys = 0;
    };

    void swap(PagedCache& other) noexcept {
        std::swap(pool_, other.pool_), std::swap(shape_, other.shape_), sequences_.swap(other.sequences_);
    }
    /// So that no call has to.
    void reserve() {
        for (Sequence& s : sequences_) s.pages.reserve(static_cast<std::size_t>(pages_of(shape_.capacity)));
    }
    Index pages_of(Index keys) const {
        const Index page = pool_->shape().page_keys;
        return (keys + page - 1) / page;
    }
    const Sequence& of(Index sequence, std::string_view what) const {
        if (sequence < 0 || sequence >= shape_.sequences)
            detail::refuse("paged_cache: ", what, ": there is no sequence ", sequence, " of ", shape_.sequences);
        return sequences_[static_cast<std::size_t>(sequence)];
    }
    Sequence& of(Index sequence, std::string_view what) {
        return const_cast<Sequence&>(std::as_const(*this).of(sequence, what));
    }

    void share(const Sequence& s) const {
        for (const Index page : s.pages) pool_->share(page);
    }
    /// All pages that fewer keys do not need.
    void give_back(Sequence& s, Index keys) const {
        for (; std::ssize(s.pages) > (keys == 0 ? 0 : pages_of(keys)); s.pages.pop_back())
            pool_->give_back(s.pages.back());
        s.keys = keys;
    }
    /// Whether the last page of a sequence has room left, and other users.
    bool shares_last(const Sequence& s) const {
        return s.keys % pool_->shape().page_keys != 0 && pool_->users(s.pages.back()) > 1;
    }
    /// Pages that so many more keys take.
    Index pages_for(const Sequence& s, Index rows) const {
        if (rows == 0) return 0;
        return pages_of(s.keys + rows) - pages_of(s.keys) + (shares_last(s) ? 1 : 0);
    }
    void check_pages(Index pages) const {
        if (pages > pool_->free_pages())
            detail::refuse("paged_cache: ", pages, " more pages are needed, but the pool has ", pool_->free_pages(),
                           " of ", pool_->shape().pages, " left");
    }

    Index page_of(Index sequence, Index key) const {
        return sequences_[static_cast<std::size_t>(sequence)]
            .pages[static_cast<std::size_t>(key / pool_->shape().page_keys)];
    }
    /// Where a key stands, and how many follow it there.
    struct Place {
        Index row, count;
    };
    Place place(Index sequence, Index head, Index key) const {
        const Index slot = key % pool_->shape().page_keys;
        return {pool_->first_row(page_of(sequence, key), head) + slot, pool_->shape().page_keys - slot};
    }
    RowBlock<T> rows(const Rows& of, Index sequence, Index head, Index begin, Index count, T* room) const {
        const Place first = place(sequence, head, begin);
        if (first.count >= count) return of.rows(first.row, count, room);
        for (Index i = 0; i < count;) {
            const Place next = place(sequence, head, begin + i);
            const Index here = std::min(next.count, count - i);
            of.copy_to(next.row, here, room + i * of.width());
            i += here;
        }
        return {room, of.width(), count, of.width()};
    }
    auto held(const Rows& of, Index sequence, Index head, Index begin, Index count) const {
        const Place first = place(sequence, head, begin);
        return of.held(first.row, std::min(first.count, count));
    }

    Pool* pool_ = nullptr;
    PagedCacheShape shape_;
    std::vector<Sequence> sequences_;
};

}  // namespace attend

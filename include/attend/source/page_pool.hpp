#pragma once
/// \file
/// Pages of keys and values that many caches share.

#include <limits>
#include <vector>

#include <attend/core/errors.hpp>
#include <attend/source/row_store.hpp>

namespace attend::inline ATTEND_ABI {

template <class T, class Stored>
class PagedCache;  // paged_cache.hpp

/// What a pool of pages holds.
struct PagePoolShape {
    Index heads = 1;        ///< key/value heads
    Index d_k = 0;          ///< features of a key of one head, as the attention's score makes them
    Index d_v = 0;          ///< of a value; 0: as many
    Index pages = 0;        ///< so many in all
    Index page_keys = 128;  ///< keys of a page; such of a multiple of 16 a few queries read in place, others are copied
};

/// The memory of any number of `PagedCache`s: pages of keys and values, each of one sequence, or of several whose
/// beginnings are the same. All of it is taken when the pool is made: pages · page_keys · heads · (d_k + d_v) numbers.
/// It must outlive its caches, which may be changed by one thread at a time. T and Stored are as in `KvCache`.
template <class T, class Stored = T>
class PagePool {
public:
    static_assert(std::is_same_v<T, Compute<T>>,
                  "attend: a cache's T is what calls compute in: float for 16-bit models");

    /// All pages free. Throws where the shape is none, or holds more than any memory.
    explicit PagePool(const PagePoolShape& shape) : shape_(shape) {
        if (shape_.d_v == 0) shape_.d_v = shape_.d_k;
        const auto& [heads, d_k, d_v, pages, page_keys] = shape_;
        detail::require(heads > 0 && d_k > 0 && d_v > 0 && pages >= 0 && page_keys > 0,
                        "page_pool: heads, widths and page_keys must be above 0 and pages not below, got heads ", heads,
                        ", d_k ", d_k, ", d_v ", d_v, ", pages ", pages, " and page_keys ", page_keys);
        const auto size = [](Index n) { return static_cast<double>(n); };
        detail::require(size(pages) * size(page_keys) * size(heads) * (size(d_k) + size(d_v)) <
                            size(std::numeric_limits<Index>::max() / 16),
                        "page_pool: ", pages, " pages of ", page_keys, " keys of ", heads, " heads with ", d_k, " and ",
                        d_v, " features hold more than any memory");
        keys_ = Rows(pages * heads * page_keys, d_k), values_ = Rows(pages * heads * page_keys, d_v);
        users_.assign(static_cast<std::size_t>(pages), 0);
        free_.reserve(static_cast<std::size_t>(pages));
        for (Index page = pages; page-- > 0;) free_.push_back(page);
    }
    /// Caches point to it.
    PagePool(const PagePool&) = delete;
    PagePool& operator=(const PagePool&) = delete;

    /// What it was made for, defaults filled in.
    const PagePoolShape& shape() const { return shape_; }
    /// How many pages no sequence holds.
    Index free_pages() const { return std::ssize(free_); }

private:
    friend class PagedCache<T, Stored>;
    using Rows = detail::RowStore<T, Stored>;  ///< [page][head][key]

    Index first_row(Index page, Index head) const { return (page * shape_.heads + head) * shape_.page_keys; }
    Index& users(Index page) { return users_[static_cast<std::size_t>(page)]; }

    /// A page of one user.
    Index take() {
        const Index page = free_.back();
        free_.pop_back();
        users(page) = 1;
        return page;
    }
    void share(Index page) { ++users(page); }
    void give_back(Index page) {
        if (--users(page) == 0) free_.push_back(page);
    }
    /// A page of one user's own, with the first `keys` of what a page holds that has more users.
    Index own(Index page, Index keys) {
        if (users(page) == 1) return page;
        const Index copy = take();
        for (Index h = 0; h < shape_.heads; ++h) {
            keys_.copy(first_row(page, h), first_row(copy, h), keys);
            values_.copy(first_row(page, h), first_row(copy, h), keys);
        }
        give_back(page);
        return copy;
    }

    PagePoolShape shape_;
    Rows keys_, values_;
    std::vector<Index> users_;  ///< of each page
    std::vector<Index> free_;
};

}  // namespace attend

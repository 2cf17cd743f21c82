#pragma once
/// \file
/// A cache of keys and values.

#include <algorithm>
#include <concepts>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <attend/core/errors.hpp>
#include <attend/core/view.hpp>
#include <attend/source/row_store.hpp>
#include <attend/source/source.hpp>

namespace attend::inline ATTEND_ABI {

/// A key source that grows: `append` takes keys and values of a sequence, heads side by side, `check_append(rows,
/// sequence)` throws what it would throw of so many, `keys_after(rows, sequence)` is what `keys` would be then, and
/// queries stand at the latest keys. One whose sequences share their memory also has `check_appends(offsets)`, of so
/// many behind each of them.
template <class C, class T>
concept KeyStoreOf = KeySourceOf<C, T> && requires(C& cache, const C& full, const RowMatrix<T>& rows, Index i) {
    full.check_append(i, i);
    cache.append(rows, rows, i);
    { full.query_offset(i, i) } -> std::convertible_to<Index>;
    { full.keys_after(i, i) } -> std::convertible_to<Index>;
};

namespace detail {

/// Throws unless so many keys fit behind each of the sequences, offsets as `sequences` has them.
template <class Cache>
void check_appends(const Cache& cache, std::span<const Index> offsets) {
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
        cache.check_append(offsets[s + 1] - offsets[s], static_cast<Index>(s));
    if constexpr (requires { cache.check_appends(offsets); }) cache.check_appends(offsets);
}

}  // namespace detail

/// What a cache holds.
struct KvCacheShape {
    Index heads = 1;      ///< key/value heads
    Index d_k = 0;        ///< features of a key of one head, as the attention's score makes them
    Index d_v = 0;        ///< of a value; 0: as many
    Index capacity = 0;   ///< keys of a sequence at most
    Index sequences = 1;  ///< each with a length of its own
    bool latent = false;  ///< values are the first d_v features of the keys, and held once: as multi-head latent
                          ///< attention (DeepSeek-AI 2024) reads them, whose maps are absorbed by queries and output
};

/// Keys and values of sequences that grow token by token, of fixed capacity, read by attention where they stand:
/// `attention(q, cache, out)`, `block.step(x, cache, y)`. Key j of a sequence stands at position j, and the queries of
/// a call on the cache at those of its latest keys: n queries at keys() − n … keys() − 1.
///
/// Calls compute in T (float or double). What is held as another type, `KvCache<float, Eigen::bfloat16>`, takes less
/// memory and less time to read:
///
/// | Stored | bytes a number | off by at most |
/// |---|---|---|
/// | `Eigen::half`, `Eigen::bfloat16` | 2 | 1/2048, 1/256 of itself, as these types say |
/// | `std::int8_t`, a factor for each token and head | 1 | 1/254 of the largest beside it |
/// | `Float8E4M3`, a power of two for each | 1 | 1/16 of itself, and 2⁻¹⁷ of the largest beside it |
/// | `Float8E5M2`, a power of two for each | 1 | 1/8 of itself, and 2⁻³¹ of the largest beside it |
/// | `Int4`, a factor for each 32 features | 9/16 | 1/15 of the largest of the 32, 1/6 near its negative |
///
/// All but the first two hold rows of any finite magnitude, and a row (of `Int4` 32 features) that is not finite
/// throughout as NaN. All memory is taken when the cache is made: sequences · heads · capacity · (d_k + d_v) numbers. A
/// cache may be copied; calls on a const one may run at the same time.
template <class T, class Stored = T>
class KvCache {
    using Rows = detail::RowStore<T, Stored>;

public:
    static constexpr Kind kind = Kind::source;
    static_assert(std::is_same_v<T, Compute<T>>,
                  "attend: a cache's T is what calls compute in: float for 16-bit models");

    /// All sequences empty. Throws where the shape is none, or holds more than any memory.
    explicit KvCache(const KvCacheShape& shape) : shape_(shape) {
        if (shape_.d_v == 0) shape_.d_v = shape_.d_k;
        const auto& [heads, d_k, d_v, capacity, sequences, latent] = shape_;
        detail::require(!latent || d_v <= d_k,
                        "kv_cache: the values of a latent cache are features of its keys, but d_v ", d_v,
                        " is above d_k ", d_k);
        detail::require(heads > 0 && d_k > 0 && d_v > 0 && capacity >= 0 && sequences > 0,
                        "kv_cache: heads, widths and sequences must be above 0 and the capacity not below, got heads ",
                        heads, ", d_k ", d_k, ", d_v ", d_v, ", capacity ", capacity, " and ", sequences, " sequences");
        const auto size = [](Index n) { return static_cast<double>(n); };
        detail::require(size(sequences) * size(heads) * size(capacity) * (size(d_k) + size(d_v)) <
                            size(std::numeric_limits<Index>::max() / 16),
                        "kv_cache: ", sequences, " sequences of ", heads, " heads, ", capacity, " keys of ", d_k,
                        " and ", d_v, " features hold more than any memory");
        keys_ = Rows(sequences * heads * capacity, d_k);
        if (!latent) values_ = Rows(sequences * heads * capacity, d_v);
        lengths_.assign(static_cast<std::size_t>(sequences), 0);
    }

    /// What it was made for, defaults filled in.
    const KvCacheShape& shape() const { return shape_; }
    Index sequences() const { return shape_.sequences; }
    Index heads() const { return shape_.heads; }
    Index key_width() const { return shape_.d_k; }
    Index value_width() const { return shape_.d_v; }
    /// How many keys a sequence holds. Throws where there is no such sequence.
    Index keys(Index sequence = 0) const {
        check_sequence("keys", sequence);
        return lengths_[static_cast<std::size_t>(sequence)];
    }
    /// How many keys a sequence will have when so many are appended.
    Index keys_after(Index rows, Index sequence = 0) const { return keys(sequence) + rows; }
    Index query_offset(Index sequence, Index queries) const { return std::max<Index>(0, keys(sequence) - queries); }
    RowBlock<T> key_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return keys_.rows(row_of(sequence, head, begin), count, room);
    }
    RowBlock<T> value_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return value_store().rows(row_of(sequence, head, begin), count, shape_.d_v, room);
    }
    auto held_key_rows(Index sequence, Index head, Index begin, Index count) const {
        return keys_.held(row_of(sequence, head, begin), count);
    }
    auto held_value_rows(Index sequence, Index head, Index begin, Index count) const {
        return value_store().held(row_of(sequence, head, begin), count, shape_.d_v);
    }

    /// Throws unless so many keys fit behind those of a sequence.
    void check_append(Index rows, Index sequence = 0) const {
        check_sequence("append", sequence);
        if (rows > shape_.capacity - keys(sequence))
            detail::refuse("kv_cache: sequence ", sequence, " holds ", keys(sequence), " of ", shape_.capacity,
                           " keys, ", rows, " more do not fit");
    }
    /// Keys and values behind those of a sequence: n × heads · d_k and n × heads · d_v. O(n · heads · (d_k + d_v)), and
    /// nothing from the heap. Throws, and changes nothing, where they do not fit.
    template <detail::Dense K, detail::Dense V>
    void append(const K& k, const V& v, Index sequence = 0) {
        detail::require(!shape_.latent, "kv_cache: append: values are features of the keys here: append(k)");
        check_append(k.rows(), sequence);
        check_rows(k, v);
        put_at(keys(sequence), k, v, sequence);
        lengths_[static_cast<std::size_t>(sequence)] += k.rows();
    }
    /// Keys that hold their values, of a latent cache: n × heads · d_k. O(n · heads · d_k). Throws as the
    /// other.
    template <detail::Dense K>
    void append(const K& k, Index sequence = 0) {
        detail::require(shape_.latent, "kv_cache: append: keys alone are what a latent cache takes: append(k, v)");
        check_append(k.rows(), sequence);
        if (k.cols() != shape_.heads * shape_.d_k)
            detail::refuse("kv_cache: ", detail::named("k", k.rows(), k.cols()), " must have ", shape_.heads,
                           " heads of ", shape_.d_k, " columns");
        put(keys_, keys(sequence), k, sequence);
        lengths_[static_cast<std::size_t>(sequence)] += k.rows();
    }
    /// Forgets all keys of a sequence but the first `length`: what a speculation got wrong, or for 0 the sequence.
    /// Throws where it holds fewer.
    void truncate(Index length, Index sequence = 0) {
        check_sequence("truncate", sequence);
        detail::require(0 <= length && length <= keys(sequence), "kv_cache: truncate: sequence ", sequence, " holds ",
                        keys(sequence), " keys, not ", length);
        lengths_[static_cast<std::size_t>(sequence)] = length;
    }
    /// Makes a sequence what another one is, as beams do. O(keys). Throws where there is no such sequence.
    void copy(Index from, Index to) {
        check_sequence("copy", from), check_sequence("copy", to);
        if (from == to) return;
        for (Index h = 0; h < shape_.heads; ++h) {
            keys_.copy(row_of(from, h, 0), row_of(to, h, 0), keys(from));
            if (!shape_.latent) values_.copy(row_of(from, h, 0), row_of(to, h, 0), keys(from));
        }
        lengths_[static_cast<std::size_t>(to)] = keys(from);
    }

private:
    template <class, class>
    friend class RingCache;

    template <class K, class V>
    void check_rows(const K& k, const V& v) const {
        if (k.cols() != shape_.heads * shape_.d_k || v.cols() != shape_.heads * shape_.d_v || k.rows() != v.rows())
            detail::refuse("kv_cache: ", detail::named("k", k.rows(), k.cols()), " and ",
                           detail::named("v", v.rows(), v.cols()), " must have a row for each key, and ", shape_.heads,
                           " heads of ", shape_.d_k, " and of ", shape_.d_v, " columns");
    }
    template <class K, class V>
    void put_at(Index begin, const K& k, const V& v, Index sequence) {
        put(keys_, begin, k, sequence);
        put(values_, begin, v, sequence);
    }
    template <class X>
    void put(Rows& to, Index begin, const X& x, Index sequence) {
        for (Index h = 0; h < shape_.heads; ++h)
            to.put(row_of(sequence, h, begin), x.middleCols(h * to.width(), to.width()));
    }
    const Rows& value_store() const { return shape_.latent ? keys_ : values_; }
    void check_sequence(std::string_view what, Index sequence) const {
        if (sequence < 0 || sequence >= shape_.sequences)
            detail::refuse("kv_cache: ", what, ": there is no sequence ", sequence, " of ", shape_.sequences);
    }
    Index row_of(Index sequence, Index head, Index key) const {
        return (sequence * shape_.heads + head) * shape_.capacity + key;
    }

    KvCacheShape shape_;
    Rows keys_, values_;
    std::vector<Index> lengths_;
};

}  // namespace attend

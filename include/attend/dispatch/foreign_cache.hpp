#pragma once
/// \file
/// A key/value cache that stands in another object of the program, as boundary.hpp describes it.

#include <algorithm>
#include <type_traits>

#include <attend/core/concepts.hpp>
#include <attend/core/tiles.hpp>
#include <attend/dispatch/boundary.hpp>
#include <attend/source/row_store.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A key source as `KvCache<T, Stored>` is one, to the same bits.
template <class T, class Stored>
class ForeignCache {
public:
    static constexpr Kind kind = Kind::source;

    explicit ForeignCache(const boundary::Cache& given)
        : given_(given), keys_(rows_of(given.keys)), values_(rows_of(given.values)) {}

    Index sequences() const { return given_.sequences; }
    Index heads() const { return given_.heads; }
    Index key_width() const { return given_.key_width; }
    Index value_width() const { return given_.value_width; }
    Index keys(Index sequence) const { return given_.length(given_.given, sequence); }
    Index query_offset(Index sequence, Index queries) const { return std::max<Index>(0, keys(sequence) - queries); }
    RowBlock<T> key_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return keys_.rows(row_of(sequence, head, begin), count, given_.key_width, room);
    }
    RowBlock<T> value_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return values_.rows(row_of(sequence, head, begin), count, given_.value_width, room);
    }
    auto held_key_rows(Index sequence, Index head, Index begin, Index count) const {
        return keys_.held(row_of(sequence, head, begin), count, given_.key_width);
    }
    auto held_value_rows(Index sequence, Index head, Index begin, Index count) const {
        return values_.held(row_of(sequence, head, begin), count, given_.value_width);
    }

private:
    static StoredRows<T, Stored> rows_of(const boundary::Rows& rows) {
        return {static_cast<const Stored*>(rows.numbers), rows.factors, rows.width};
    }
    Index row_of(Index sequence, Index head, Index key) const {
        return (sequence * given_.heads + head) * given_.capacity + key;
    }

    const boundary::Cache& given_;
    StoredRows<T, Stored> keys_, values_;
};

}  // namespace attend::detail

#pragma once
/// \file
/// The vocabulary of the whole library: indices, scalar types, positions of pairs, tiles of pairs.

#include <attend/core/config.hpp>

namespace attend::inline ATTEND_ABI {

using Eigen::Index;

/// The scalar that a computation on `T` runs and accumulates in: float for 16-bit types, otherwise `T` itself.
template <class T>
struct ComputeType {
    using type = T;  ///< what it computes in
};
/// Of 16 bits: float.
template <>
struct ComputeType<Eigen::half> {
    using type = float;  ///< what it computes in
};
/// Of 16 bits: float.
template <>
struct ComputeType<Eigen::bfloat16> {
    using type = float;  ///< what it computes in
};
/// The scalar that a computation on `T` runs in.
template <class T>
using Compute = typename ComputeType<T>::type;

/// A matrix whose rows are contiguous: tokens below each other.
template <class T>
using RowMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
/// A column.
template <class T>
using ColumnVector = Eigen::Matrix<T, Eigen::Dynamic, 1>;

/// Where a pair of one query and one key stands. Where a kernel works on many pairs at once, either `Q` is a pack of
/// indices, of many queries with one key, or `K` is, of one query with many keys; write `p.query - p.key` and all work.
template <class Q, class K>
struct PairPosition {
    Q query{};       ///< absolute position of the query: `query_offset + row`, or as `query_positions` says
    K key{};         ///< absolute position of the key
    Q row{};         ///< the query's row within its sequence of this call (what dense masks and biases are indexed by)
    Index head = 0;  ///< query head
    Index kv_head = 0;   ///< key/value head: `head / group`
    Index sequence = 0;  ///< which sequence of the batch
};
/// The position of one pair.
using Position = PairPosition<Index, Index>;

/// A rectangle of pairs of one head: queries `[query_begin, query_end)` × keys `[key_begin, key_end)`, never empty.
struct Tile {
    Index query_begin = 0, query_end = 0;       ///< absolute positions of the first query and behind the last
    Index key_begin = 0, key_end = 0;           ///< of the first key and behind the last
    Index row_begin = 0;                        ///< row of `query_begin` within its sequence
    Index head = 0, kv_head = 0, sequence = 0;  ///< as of a pair

    /// The row behind the last.
    constexpr Index row_end() const { return row_begin + (query_end - query_begin); }
};

/// How many pairs of a tile a mask keeps: `none`, `some` or `all`. `some` is always a safe answer.
enum class Cover { none, some, all };

/// Keys `[begin, end)`.
struct KeySpan {
    Index begin = 0, end = 0;  ///< the first key and that behind the last

    /// Whether there is no key.
    constexpr bool empty() const { return begin >= end; }
};

/// What a call is about, known before anything is computed. Of ragged sequences `queries` and `keys` are the longest.
struct Shape {
    Index sequences = 1;              ///< of the batch
    Index heads = 1, kv_heads = 1;    ///< of queries, and of keys and values
    Index queries = 0, keys = 0;      ///< rows of one sequence
    Index d_q = 0, d_k = 0, d_v = 0;  ///< widths of one head
    Index query_offset = 0;           ///< absolute position of the first query
    Index key_rows = 0;  ///< of ragged sequences: their keys in all; 0: as many as the longest has for each of them
    bool own_positions = false;  ///< queries stand at positions that the call gives them, not at query_offset + row

    /// The keys of all sequences.
    constexpr Index all_keys() const { return key_rows > 0 ? key_rows : sequences * keys; }
    /// How many query heads read a key/value head.
    constexpr Index group() const { return kv_heads == heads ? 1 : heads / kv_heads; }
};

}  // namespace attend

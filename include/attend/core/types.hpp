#pragma once
/// \file
/// The vocabulary of the whole library: indices, scalar types, positions of pairs, tiles of pairs.

#include <attend/core/config.hpp>

namespace attend::inline ATTEND_ABI {

using Eigen::Index;

/// The scalar that a computation on `T` runs and accumulates in: float for 16-bit types, otherwise `T` itself.
template <class T>
struct ComputeType {
    using type = T;
};
template <>
struct ComputeType<Eigen::half> {
    using type = float;
};
template <>
struct ComputeType<Eigen::bfloat16> {
    using type = float;
};
template <class T>
using Compute = typename ComputeType<T>::type;

template <class T>
using RowMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
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
using Position = PairPosition<Index, Index>;

/// A rectangle of pairs of one head: queries `[query_begin, query_end)` × keys `[key_begin, key_end)`, never empty.
struct Tile {
    Index query_begin = 0, query_end = 0;
    Index key_begin = 0, key_end = 0;
    Index row_begin = 0;  ///< row of `query_begin` within its sequence
    Index head = 0, kv_head = 0, sequence = 0;

    constexpr Index row_end() const { return row_begin + (query_end - query_begin); }
};

/// How many pairs of a tile a mask keeps. `some` is always a safe answer.
enum class Cover { none, some, all };

/// Keys `[begin, end)`.
struct KeySpan {
    Index begin = 0, end = 0;

    constexpr bool empty() const { return begin >= end; }
};

/// What a call is about, known before anything is computed. Of ragged sequences `queries` and `keys` are the longest.
struct Shape {
    Index sequences = 1;
    Index heads = 1, kv_heads = 1;
    Index queries = 0, keys = 0;
    Index d_q = 0, d_k = 0, d_v = 0;
    Index query_offset = 0;
    Index key_rows = 0;  ///< of ragged sequences: their keys in all; 0: as many as the longest has for each of them
    bool own_positions = false;  ///< queries stand at positions that the call gives them, not at query_offset + row

    constexpr Index all_keys() const { return key_rows > 0 ? key_rows : sequences * keys; }
    constexpr Index group() const { return kv_heads == heads ? 1 : heads / kv_heads; }
};

}  // namespace attend

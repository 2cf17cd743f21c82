#pragma once
/// \file
/// One call, checked: its operands as views, its shape, and the slice of each head of each sequence.

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <span>

#include <attend/call/places.hpp>
#include <attend/call/sizes.hpp>
#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/options.hpp>
#include <attend/core/positions.hpp>
#include <attend/core/view.hpp>
#include <attend/source/source.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Where queries stand: row i at `offset + i`, or each at a position of its own.
struct QueryPlaces {
    Index offset = 0;
    std::span<const Index> own = {};

    QueryPlaces(Index offset_) : offset(offset_) {}  // NOLINT(google-explicit-constructor)
    QueryPlaces(Index offset_, const QueryPositions& positions) : offset(offset_), own(positions.get()) {
        if (!own.empty())
            require(offset == 0, "query_offset: query_positions says where each query stands: leave it out");
    }
};

/// So many rows whose positions go by one step.
struct RowRun {
    Index rows, step;
};

/// The operands of a call on elements of type X, after every check that needs no functor.
template <class X>
class Problem {
public:
    StridedView<const X> q, k, v;
    Shape shape;
    DropoutFactors dropout;
    Index key_positions;  ///< keys stand before this position: what parts that hold something for each are checked by

    Problem(const StridedView<const X>& q_, const StridedView<const X>& k_, const StridedView<const X>& v_,
            const QueryPlaces& places, SequencesRef query_sequences, SequencesRef key_sequences,
            const Dropout& dropout_ = {})
        : Problem(Operand(q_), Operand(k_), Operand(v_), places, query_sequences, key_sequences, dropout_) {}
    /// From operands the views come into being where they stay: a copy would read in large pieces what has just been
    /// written in small ones, and wait for it.
    template <class Q, class K, class V>
    Problem(const Operand<Q>& q_, const Operand<K>& k_, const Operand<V>& v_, const QueryPlaces& places,
            SequencesRef query_sequences, SequencesRef key_sequences, const Dropout& dropout_ = {})
        : q(q_.view()),
          k(k_.view()),
          v(v_.view()),
          dropout(dropout_),
          key_positions(k.rows),
          query_sequences_(query_sequences),
          key_sequences_(key_sequences) {
        if (!are_sizes(q.sequences, q.heads, q.rows, q.columns, k.sequences, k.heads, k.rows, k.columns, v.sequences,
                       v.heads, v.rows, v.columns)) [[unlikely]]
            refuse(named("q", q), ", ", named("k", k), " and ", named("v", v),
                   " have a negative size, or hold more than any memory");
        if (q.data == nullptr || k.data == nullptr || v.data == nullptr) [[unlikely]]
            check_memory(q, "q"), check_memory(k, "k"), check_memory(v, "v");
        if (k.rows != v.rows) refuse(named("k", k), " and ", named("v", v), " must have one row each for every key");
        if (k.heads != v.heads) refuse(named("k", k), " and ", named("v", v), " must have the same number of heads");
        require_groups(q, k);
        if (q.sequences != k.sequences || k.sequences != v.sequences)
            refuse(named("q", q), ", ", named("k", k), " and ", named("v", v),
                   " must have the same number of sequences");
        if (query_sequences_ || key_sequences_) check_sequences();
        set_shape(places, k.sequences * k.rows);
    }
    /// Of a key source, whose keys and values have no memory here but the shape alone.
    template <class Source>
    Problem(const StridedView<const X>& q_, const Source& source, const QueryPlaces& places,
            SequencesRef query_sequences, const Dropout& dropout_)
        : q(q_), dropout(dropout_), query_sequences_(query_sequences), source_(&source) {
        keys_of_ = [](const void* given, Index sequence) {
            return static_cast<Index>(static_cast<const Source*>(given)->keys(sequence));
        };
        static constexpr X somewhere{};
        k = v = {&somewhere, source.sequences(), source.heads(), 0, source.key_width()};
        v.columns = source.value_width();
        Index keys = 0;
        key_positions = 0;
        for (Index s = 0; s < k.sequences; ++s) {
            const Index count = source.keys(s);
            key_positions = std::max(key_positions, count);
            if constexpr (requires { source.position(s, count); }) {
                require(dropout_.rate == 0, "dropout: keys of a source that says where they stand have none");
                if (count > 0) key_positions = std::max(key_positions, source.position(s, count - 1) + 1);
            }
            require(count >= 0 && count < std::numeric_limits<Index>::max() / 2 - keys, "the source says that it has ",
                    count, " keys of sequence ", s);
            k.rows = v.rows = std::max(k.rows, count);
            keys += count;
        }
        if (!are_sizes(q.sequences, q.heads, q.rows, q.columns, k.sequences, k.heads, k.columns, v.columns))
            refuse(named("q", q), " and the source's ", named("k", k), " and ", named("v", v),
                   " have a negative size, or hold more than any memory");
        check_memory(q, "q");
        require_groups(q, k);
        if (query_sequences_) check_query_sequences();
        if constexpr (requires { source.query_offset(Index(), Index()); }) {
            require(places.offset == 0, "query_offset: the source says itself where queries stand: leave it out");
            if (places.own.empty())
                offset_of_ = [](const void* given, Index sequence, Index queries) {
                    return static_cast<Index>(static_cast<const Source*>(given)->query_offset(sequence, queries));
                };
        }
        const Index sequences = query_sequences_ ? query_sequences_.count() : q.sequences;
        require(sequences == k.sequences, named("q", q), " has ", sequences, " sequences, but the source ",
                k.sequences);
        set_shape(places, keys);
        for (Index s = 0; offset_of_ != nullptr && s < shape.sequences; ++s)
            check_position("the source's query_offset", this->query_offset(s));
    }

    /// The shape as parts know it.
    Shape part_shape() const {
        Shape parts = shape;
        parts.keys = std::max(parts.keys, key_positions);
        return parts;
    }

    bool ragged() const { return query_sequences_ || source_ != nullptr; }
    Index queries(Index sequence) const { return query_sequences_ ? query_sequences_.length(sequence) : q.rows; }
    Index keys(Index sequence) const {
        if (source_ != nullptr) return keys_of_(source_, sequence);
        return key_sequences_ ? key_sequences_.length(sequence) : k.rows;
    }

    /// The position of a sequence's first query, where the others follow it.
    Index query_offset(Index sequence) const {
        return offset_of_ == nullptr ? shape.query_offset : offset_of_(source_, sequence, queries(sequence));
    }

    template <class T>
    Slice<T> query_slice(const StridedView<T>& view, Index sequence, Index head) const {
        return slice(view, sequence, head, query_sequences_, queries(sequence));
    }
    /// The rows of a head's keys.
    KeyRows key_rows(Index sequence, Index head) const {
        return {sequence, head, key_sequences_ ? 0 : sequence, key_sequences_ ? key_sequences_.begin(sequence) : 0,
                keys(sequence)};
    }
    template <class T>
    Slice<T> key_slice(const StridedView<T>& view, Index sequence, Index head) const {
        return slice(view, sequence, head, key_sequences_, keys(sequence));
    }
    RowPosition row_position(Index sequence, Index head, Index row) const {
        return {query_position(sequence, row), row, head, head / shape.group(), sequence};
    }
    Index query_position(Index sequence, Index row) const {
        return own_positions_.empty() ? query_offset(sequence) + row : own_position(sequence, row);
    }
    /// The rows from one on, at most `most`, whose positions go by one step, or by 1.
    RowRun run(Index sequence, Index row, Index most) const {
        if (own_positions_.empty() || most < 2) return {most, 1};
        constexpr Index steepest = 1024;  // so that a packet's positions are exact in any scalar
        const Index step = own_position(sequence, row + 1) - own_position(sequence, row);
        if (std::abs(step) > steepest) return {1, 1};
        return {own_rows(sequence, row, most, step), step};
    }
    Index following(Index sequence, Index row, Index most) const {
        return own_positions_.empty() ? most : own_rows(sequence, row, most, 1);
    }
    /// Whether queries stand at positions of their own.
    bool own_positions() const { return !own_positions_.empty(); }

    /// Shape errors of an output, by its name: one row a query (or key), `columns` columns a head.
    template <class T>
    void check_query_output(const Output<T>& output, std::string_view name, Index columns) const {
        output.check(name, q.sequences, q.heads, q.rows, columns);
    }
    template <class T>
    void check_key_output(const Output<T>& output, std::string_view name, Index columns) const {
        output.check(name, k.sequences, k.heads, k.rows, columns);
    }
    template <class AnyOutput>
    auto query_output(AnyOutput& output, Index columns) const {
        return output.as(q.sequences, q.heads, q.rows, columns);
    }
    template <class AnyOutput>
    auto key_output(AnyOutput& output, Index columns) const {
        return output.as(k.sequences, k.heads, k.rows, columns);
    }

    /// Scores of all pairs: the heads' blocks below each other, each as wide as the most keys of a sequence.
    /// Of all rows of queries, or of some.
    template <class T>
    void check_pair_output(const Output<T>& output, std::string_view name, const QueryRows& some = {}) const {
        if (some) {
            const auto rows = some.get();
            require(static_cast<bool>(output), name, ": rows of them are named, but no memory is given for them");
            if (!rows.empty() && rows.back() >= q.rows)
                refuse(name, ": there is no row ", rows.back(), " of ", named("q", q));
        }
        output.check(name, q.sequences, q.heads, pair_rows(some), shape.keys, HeadBlocks::below_each_other);
    }
    template <class T>
    StridedView<T> pair_output(Output<T>& output, const QueryRows& some = {}) const {
        return output.as(q.sequences, q.heads, pair_rows(some), shape.keys, HeadBlocks::below_each_other);
    }
    /// Where the rows of a sequence stand in an operand: its sequence there, and the first row.
    Index batch(Index sequence) const { return query_sequences_ ? 0 : sequence; }
    Index first_row(Index sequence) const { return query_sequences_ ? query_sequences_.begin(sequence) : 0; }

    /// A plain matrix that goes with the queries (out, dout), as a view of their sequences and heads.
    template <class T>
    StridedView<const T> query_input(StridedView<const T> x, std::string_view name, Index columns) const {
        if (x.sequences == 1 && x.heads == 1 && x.rows == q.sequences * q.rows && x.columns == q.heads * columns) {
            x.sequence_stride = q.rows * x.row_stride;
            x.head_stride = columns * x.column_stride;
            x.sequences = q.sequences;
            x.heads = q.heads;
            x.rows = q.rows;
            x.columns = columns;
        }
        require(x.sequences == q.sequences && x.heads == q.heads && x.rows == q.rows && x.columns == columns,
                named(name, x), " must be ", shape_words(q.sequences, q.heads, q.rows, columns), " to go with ",
                named("q", q));
        if (x.data == nullptr) check_memory(x, name);
        return x;
    }

    /// A plain matrix that goes with the pairs (dweights): the heads' blocks below each other.
    template <class T>
    StridedView<const T> pair_input(StridedView<const T> x, std::string_view name) const {
        if (x.sequences == 1 && x.heads == 1 && x.rows == q.heads * q.sequences * q.rows) {
            x.head_stride = q.sequences * q.rows * x.row_stride;
            x.sequence_stride = q.rows * x.row_stride;
            x.sequences = q.sequences, x.heads = q.heads, x.rows = q.rows;
        }
        if (x.sequences != q.sequences || x.heads != q.heads || x.rows != q.rows || x.columns != shape.keys)
            refuse(named(name, x), " must be ", q.heads * q.sequences * q.rows, "x", shape.keys, " to go with ",
                   named("q", q), " and ", named("k", k));
        if (x.data == nullptr) check_memory(x, name);
        return x;
    }

private:
    template <class T>
    static void check_memory(const StridedView<const T>& view, std::string_view name) {
        require(view.data != nullptr || is_empty(view), named(name, view), " has no memory: its pointer is null");
    }
    /// Offsets may come from where no `Sequences` has checked them, as those that a tape keeps.
    static void check_offsets(const SequencesRef& sequences, std::string_view name) {
        require(sequences.count() >= 0 && sequences.begin(0) == 0, name, ": offsets must start at 0");
        for (Index s = 0; s < sequences.count(); ++s) {
            if (sequences.begin(s) > sequences.begin(s + 1))
                refuse(name, ": offsets must not decrease, but ", sequences.begin(s + 1), " follows ",
                       sequences.begin(s));
        }
    }
    void check_query_sequences() const {
        check_offsets(query_sequences_, "sequences");
        require(q.sequences == 1, "sequences cuts the rows of plain operands, but ", named("q", q),
                " is a batch already");
        require(query_sequences_.total() == q.rows, "sequences must end at the ", q.rows, " rows of ", named("q", q),
                ", not at ", query_sequences_.total());
    }
    void check_sequences() {
        if (!key_sequences_) key_sequences_ = query_sequences_;
        require(static_cast<bool>(query_sequences_), "key_sequences needs sequences for the queries as well");
        check_query_sequences();
        check_offsets(key_sequences_, "key_sequences");
        require(query_sequences_.count() == key_sequences_.count(), "sequences holds ", query_sequences_.count(),
                " sequences of queries, but key_sequences ", key_sequences_.count());
        require(key_sequences_.total() == k.rows, "key_sequences must end at the ", k.rows, " rows of ", named("k", k),
                ", not at ", key_sequences_.total());
    }

    Index own_position(Index sequence, Index row) const {
        return own_positions_[static_cast<std::size_t>(batch(sequence) * q.rows + first_row(sequence) + row)];
    }
    /// The rows from one on that go by such a step.
    ATTEND_NOINLINE Index own_rows(Index sequence, Index row, Index most, Index step) const {
        Index rows = std::min<Index>(most, 1);
        while (rows < most && own_position(sequence, row + rows) - own_position(sequence, row + rows - 1) == step)
            ++rows;
        return rows;
    }
    void set_own_positions(std::span<const Index> positions) {
        if (positions.empty()) return;
        require(std::ssize(positions) == q.sequences * q.rows, "query_positions holds ", positions.size(),
                " positions, but ", named("q", q), " has ", q.sequences * q.rows, " rows");
        for (const Index position : positions) check_position("query_positions", position);
        own_positions_ = positions;
    }
    Index pair_rows(const QueryRows& some) const { return some ? std::ssize(some.get()) : q.rows; }
    void set_shape(const QueryPlaces& places, Index key_rows) {
        set_own_positions(places.own);
        shape = {.sequences = query_sequences_ ? query_sequences_.count() : q.sequences,
                 .heads = q.heads,
                 .kv_heads = k.heads,
                 .queries = query_sequences_ ? query_sequences_.longest() : q.rows,
                 .keys = key_sequences_ ? key_sequences_.longest() : k.rows,
                 .d_q = q.columns,
                 .d_k = k.columns,
                 .d_v = v.columns,
                 .query_offset = places.offset,
                 .key_rows = key_rows,
                 .own_positions = own_positions()};
        check_reach(shape);
    }

    template <class T>
    Slice<T> slice(const StridedView<T>& view, Index sequence, Index head, const SequencesRef& ragged,
                   Index rows) const {
        const Index first = ragged ? ragged.begin(sequence) * view.row_stride : sequence * view.sequence_stride;
        return rows_of(view, first, head, rows);
    }

    SequencesRef query_sequences_, key_sequences_;
    std::span<const Index> own_positions_;  ///< of the rows of q, if queries stand at positions of their own
    const void* source_ = nullptr;          ///< that says how many keys a sequence has
    Index (*keys_of_)(const void*, Index) = nullptr;
    Index (*offset_of_)(const void*, Index, Index) = nullptr;
};

template <class Q, class K, class V>
Problem(const Operand<Q>&, const Operand<K>&, const Operand<V>&, const QueryPlaces&, SequencesRef, SequencesRef,
        const Dropout&) -> Problem<typename Operand<Q>::Scalar>;

}  // namespace attend::detail

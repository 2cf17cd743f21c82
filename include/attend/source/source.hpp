#pragma once
/// \file
/// Where keys and values come from, a tile at a time. What a call's operands are is one source, `DenseSource`; one of
/// your own, be it a cache, a file or a formula, is given in their place: `attention(q, source, out)`, and
/// `attention.backward(q, source, out, lse, dout, dq, gradients)`.
///
/// A key source is a value with `static constexpr Kind kind = Kind::source` and, all const,
///
///     Index sequences(); Index heads();          // batches, and key/value heads of each
///     Index keys(Index sequence);                // of every head of it
///     Index key_width(); Index value_width();
///     RowBlock<T> key_rows(Index sequence, Index head, Index begin, Index count, T* room);
///     RowBlock<T> value_rows(Index sequence, Index head, Index begin, Index count, T* room);
///
/// and where queries do not start at the call's `query_offset`, but as those of a cache that has just grown by them,
///
///     Index query_offset(Index sequence, Index queries);   // the position of the first of so many queries
///
/// and where keys do not stand at their own numbers, as those of a ring whose first ones are gone,
///
///     Index position(Index sequence, Index key);           // rising with the key
///
/// and where rows are held as numbers of fewer bits, or stand in several pieces, and a few queries shall read them in
/// place all the same, `RowBlock<S>` or `ScaledRows<S>`, of an S as caches have them
///
///     auto held_key_rows(Index sequence, Index head, Index begin, Index count);   // the first piece of these rows
///     auto held_value_rows(Index sequence, Index head, Index begin, Index count);
///
/// and where it knows a better way to a forward call than tile by tile, as one whose sequences share keys,
///
///     bool attend(attention, q, Output<X>& out, const ForwardOptions<T>&);   // false: it has written nothing
///
/// which keep these laws, and are called by several threads at a time:
/// - The rows are those of the keys from `begin` on, `count` × width. They stand in memory of the source's, which stays
///   as it is for the call, or in `room`, which has space for them without gaps and is the caller's for so long.
/// - A piece ends after a multiple of 16 rows of a tile of 64, or the tile is copied; one without memory says the same.
/// - At least one row is asked for, and never rows on both sides of a jump of positions.
/// - The same rows are given whenever they are asked for. No output of the call and no workspace is memory of theirs.
/// - Keys are features of the attention's score: of a score that maps keys (additive, general, cosine), what it would
///   make of them.
///
/// `gradients` has `void add(Index sequence, Index head, Index begin, const RowBlock<T>& dk, const RowBlock<T>& dv)`:
/// the gradients of a tile of keys, once a tile that some query sees, by several threads at a time for different tiles.

#include <concepts>

#include <attend/core/concepts.hpp>
#include <attend/core/read_ahead.hpp>
#include <attend/core/tiles.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI {

/// A key source of rows of T.
template <class S, class T>
concept KeySourceOf = OfKind<S, Kind::source> && requires(const S& source, Index i, T* room) {
    { source.sequences() } -> std::convertible_to<Index>;
    { source.heads() } -> std::convertible_to<Index>;
    { source.keys(i) } -> std::convertible_to<Index>;
    { source.key_width() } -> std::convertible_to<Index>;
    { source.value_width() } -> std::convertible_to<Index>;
    { source.key_rows(i, i, i, i, room) } -> std::same_as<RowBlock<T>>;
    { source.value_rows(i, i, i, i, room) } -> std::same_as<RowBlock<T>>;
};

/// What takes in the gradients of a source's keys and values.
template <class G, class T>
concept KeyGradientsOf =
    requires(G& gradients, Index i, const RowBlock<T>& rows) { gradients.add(i, i, i, rows, rows); };

namespace detail {

template <class S>
concept GivenAsSource = OfKind<S, Kind::source>;

/// Whether a source gives rows as it holds them.
template <class S>
concept HoldsRows = requires(const S& source, Index i) {
    source.held_key_rows(i, i, i, i);
    source.held_value_rows(i, i, i, i);
};

/// Whether a source says where its keys stand.
template <class S>
concept HasPositions = requires(const S& source, Index i) { source.position(i, i); };

/// How a tile will be read.
enum class Reading {
    by_packets,
    row_by_row  ///< the scalars of a row must follow each other
};

/// So many keys at positions that follow each other.
struct KeyRun {
    Index position, keys;
};

/// All keys of one head.
struct KeyRows {
    Index sequence, head;
    Index batch, first;  ///< where they stand in an operand: its sequence, and the first row
    Index count;
};

/// A source of a user's own, as kernels read it.
template <class T, class S>
class GivenSource {
public:
    explicit GivenSource(const S& source) : source_(source) {}

    class Head {
    public:
        Head(const S& source, const KeyRows& rows) : source_(source), rows_(rows) {}

        StridedMatrix<T> keys(Index begin, Index count, T* room, Reading) const {
            return matrix(source_.key_rows(rows_.sequence, rows_.head, begin, count, room));
        }
        StridedMatrix<T> values(Index begin, Index count, T* room, Reading) const {
            return matrix(source_.value_rows(rows_.sequence, rows_.head, begin, count, room));
        }
        auto held_keys(Index begin, Index count) const
            requires HoldsRows<S>
        {
            return source_.held_key_rows(rows_.sequence, rows_.head, begin, count);
        }
        auto held_values(Index begin, Index count) const
            requires HoldsRows<S>
        {
            return source_.held_value_rows(rows_.sequence, rows_.head, begin, count);
        }
        void soon([[maybe_unused]] ReadAhead& ahead, [[maybe_unused]] Index begin, [[maybe_unused]] Index count) const {
            if constexpr (HoldsRows<S>)
                if (count > 0) ahead.soon(map(held_values(begin, count)), map(held_keys(begin, count)));
        }
        void later([[maybe_unused]] ReadAhead& ahead, [[maybe_unused]] Index begin,
                   [[maybe_unused]] Index count) const {
            if constexpr (HoldsRows<S>)
                if (count > 0) ahead.later(map(held_values(begin, count)), map(held_keys(begin, count)));
        }
        /// At most `most` keys.
        KeyRun run(Index begin, Index most) const
            requires HasPositions<S>
        {
            const auto at = [&](Index key) { return static_cast<Index>(source_.position(rows_.sequence, key)); };
            const Index first = at(begin);
            while (at(begin + most - 1) != first + most - 1) --most;
            return {first, most};
        }
        static KeyRun run(Index begin, Index most)
            requires(!HasPositions<S>)
        {
            return {begin, most};
        }

    private:
        template <class X>
        static auto map(const RowBlock<X>& rows) {
            using Rows = Eigen::Map<const RowMatrix<X>, Eigen::Unaligned, Eigen::OuterStride<>>;
            return Rows(rows.data, rows.rows, elements_of<X>(rows.columns), Eigen::OuterStride<>(rows.stride));
        }
        static StridedMatrix<T> matrix(const RowBlock<T>& rows) { return {rows.data, rows.stride, 1}; }

        const S& source_;
        KeyRows rows_;
    };
    Head head(const KeyRows& rows) const { return Head(source_, rows); }

private:
    const S& source_;
};

}  // namespace detail
}  // namespace attend

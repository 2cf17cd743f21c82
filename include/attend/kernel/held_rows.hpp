#pragma once
/// \file
/// The rows of a tile as their source holds them, which a few queries read in place.

#include <algorithm>

#include <attend/call/block_rows.hpp>
#include <attend/core/read_ahead.hpp>
#include <attend/engine/products.hpp>
#include <attend/engine/rows.hpp>
#include <attend/source/source.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Whether a few queries read rows as their source holds them.
template <class Head, class E, class T>
concept ReadsHeldRows = requires(const Head& keys, Index i) {
    { keys.held_keys(i, i) } -> WidenedBy<E, T>;
    { keys.held_values(i, i) } -> WidenedBy<E, T>;
};

/// Whether an engine packs keys and values as their source holds them.
template <class Head, class E, class T>
concept PacksHeld = requires(const Head& keys, Index i) {
    keys.held_values(i, i);
    requires Products<T, E>::template can_pack_held<decltype(keys.held_keys(i, i))>;
};

/// The pieces of a tile's rows. Sums of rows go by so many at a time: where a piece ends between, there is none, and
/// the tile must be copied.
template <class Rows>
class HeldRows {
public:
    /// `get(begin, count)` gives the first piece of such rows. After the tile, those up to `end` will be read.
    template <class Get>
    HeldRows(Index begin, Index count, Index end, bool streams, const Get& get) {
        for (Index i = 0; i < count; ++pieces_) {
            Rows& piece = piece_[pieces_];
            piece = get(begin + i, count - i);
            if (piece.data == nullptr || (piece.rows < count - i && piece.rows % rows_at_once != 0)) {
                pieces_ = 0;
                return;
            }
            piece.streams = streams;
            if (pieces_ > 0) goes_on_at(piece.data);
            i += piece.rows;
        }
        if (streams && begin + count < end) goes_on_at(get(begin + count, Index(1)).data);
    }

    explicit operator bool() const { return pieces_ > 0; }
    /// Calls `f(rows, number of the first)`. The last rows of a piece come by themselves, as behind them stands what
    /// will not be read next.
    template <class F>
    void for_each(F&& f) const {
        Index first = 0;
        for (Index i = 0; i < pieces_; ++i) {
            Rows piece = piece_[i];
            const Index rows = piece.rows, begin = first_part(piece);
            if (begin > 0) {
                piece.rows = begin, piece.ahead = nullptr;
                f(piece, first);
                piece = piece_[i].from(begin);
            }
            f(piece, first + begin);
            first += rows;
        }
    }

private:
    /// Says where the last piece goes on, if not behind it.
    void goes_on_at(const typename Rows::Scalar* next) {
        Rows& piece = piece_[pieces_ - 1];
        if (next != piece.row(piece.rows)) piece.ahead = next;
    }
    /// So many rows of a piece come before the last ones, or none; whole sums, which are those of all rows then.
    static Index first_part(const Rows& piece) {
        using S = typename Rows::Scalar;
        if (!piece.streams || piece.ahead == nullptr || piece.columns == 0) return 0;
        const Index ahead = RowsAhead<S>::rows_ahead(elements_of<S>(piece.columns) * Index(sizeof(S)));
        return std::max<Index>(0, piece.rows - ahead) / rows_at_once * rows_at_once;
    }

    Rows piece_[key_block / rows_at_once];
    Index pieces_ = 0;
};

}  // namespace attend::detail::fused

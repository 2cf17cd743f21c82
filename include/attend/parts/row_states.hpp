#pragma once
/// \file
/// What the rows of a block have seen of their keys, as their fold keeps it.

#include <algorithm>
#include <cstring>

#include <attend/call/block_rows.hpp>
#include <attend/core/score_tile.hpp>
#include <attend/core/workspace.hpp>
#include <attend/engine/engine.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The lanes of a row of the scratch, without a call to the library of C, which costs more than the few packets: out of
/// line, since a value that is known to be 0 would become one.
template <class T>
ATTEND_NOINLINE void set_lanes(T* to, Index lanes, T value) {
    for (Index i = 0; i < lanes; i += simd::width<T>) simd::store(to + i, simd::broadcast(value));
}

/// Of each lane of a block.
template <class T>
struct StateScratch {
    T* states;   ///< members × lanes
    T* largest;  ///< the largest score of the tile
    T* factor;   ///< what rescales what has been weighted before, and in the end makes the output of it
    T* lse;

    StateScratch(Arena& arena, Index members, Index lanes)
        : states(arena.take<T>(members * lanes)),
          largest(arena.take<T>(lanes)),
          factor(arena.take<T>(lanes)),
          lse(arena.take<T>(lanes)) {}
};

/// The scores of a packet of rows whose weights an engine packs as they are made.
template <class T, class E>
class PackedLaneScores {
public:
    PackedLaneScores(const E& engine, T* s, Index lanes, Index lane, Index keys, const T* largest, std::byte* to)
        : engine_(engine), s_(s + lane), lanes_(lanes), lane_(lane), keys_(keys), largest_(largest + lane), to_(to) {}

    Lanes<T> largest() const { return Lanes<T>::of(simd::load(largest_)); }
    template <class F>
    ATTEND_ALWAYS_INLINE Lanes<T> replace(F&& f) const {
        const auto make = [&](Index key) ATTEND_ALWAYS_INLINE {
            T* const at = s_ + key * lanes_;
            const auto x = f(Lanes<T>::of(simd::load(at))).packet;
            simd::store(at, x);
            return x;
        };
        return Lanes<T>::of(engine_.pack_made(keys_, lane_, make, to_));
    }

private:
    const E& engine_;
    T* s_;
    Index lanes_, lane_, keys_;
    const T* largest_;
    std::byte* to_;
};

template <class T, class F>
class RowStates {
public:
    using Pack = typename F::template State<Lanes<T>>;
    using Row = typename F::template State<T>;
    static constexpr Index members = static_cast<Index>(sizeof(Row) / sizeof(T));
    static_assert(sizeof(Pack) == static_cast<std::size_t>(members) * sizeof(Lanes<T>),
                  "attend: the State<P> of a fold may have members of type P alone");

    RowStates(const F& fold, const LaneBlock& block, Index lanes, const StateScratch<T>& scratch)
        : fold_(fold), block_(block), lanes_(lanes), z_(scratch) {}

    Index head(Index lane) const { return block_.head + quotient(lane, block_.rows); }

    /// No keys.
    void start() const {
        T values[members];
        const Row none;
        std::memcpy(values, &none, sizeof none);
        for (Index m = 0; m < members; ++m) set_lanes(z_.states + m * lanes_, lanes_, values[m]);
    }
    /// Scores of a tile, keys × lanes, into weights; `factor` is left to rescale the output by.
    void take(T* s, Index keys, const LaneRange& range) const {
        for_each_packet(range, [&](auto whole, Index lane, Index count, Index head) ATTEND_ALWAYS_INLINE {
            take(LaneScores<T, whole>(s + lane, lanes_, keys, z_.largest + lane, count), whole, lane, count, head);
        });
    }
    /// The same with the weights packed as well. Blocks whose operands are packed are of one head.
    template <class E>
    void take(const E& engine, T* s, Index keys, std::byte* packed) const {
        for_each_packet([&](auto whole, Index lane, Index count, Index head) ATTEND_ALWAYS_INLINE {
            if constexpr (whole)
                take(PackedLaneScores<T, E>(engine, s, lanes_, lane, keys, z_.largest, packed), whole, lane, count,
                     head);
        });
    }
    /// The same without the weights, for an LSE that nobody else needs.
    void see(const T* s, Index keys, const LaneRange& range) const {
        for_each_packet(range, [&](auto whole, Index lane, Index count, Index head) ATTEND_ALWAYS_INLINE {
            take(SeenLaneScores<T>(s + lane, lanes_, keys, z_.largest + lane), whole, lane, count, head);
        });
    }
    /// The same of rows that stand `apart`, whose keys stand in lanes.
    void take_rows(T* s, Index keys, Index apart) const {
        for_each_row([&](Index i, Index head) { take_row(s + i * apart, i, head, keys); });
    }
    /// Of row i, a row of this head.
    void take_row(T* s, Index i, Index head, Index keys) const {
        Row seen = row(i);
        RowScores<T> scores(s, keys);
        z_.factor[i] = fold_.take(scores, seen, head);
        T values[members];
        std::memcpy(values, &seen, sizeof seen);
        for (Index m = 0; m < members; ++m) z_.states[m * lanes_ + i] = values[m];
    }
    void see_rows(const T* s, Index keys, Index apart) const {
        for_each_row([&](Index i, Index head) {
            T copy[key_block];
            std::copy_n(s + i * apart, keys, copy);
            take_row(copy, i, head, keys);
        });
    }
    /// Takes in what another task has seen; `factor` and `largest` are left to rescale the outputs of this and of that
    /// by.
    void merge(const T* others) const {
        for_each_packet([&](auto whole, Index lane, Index count, Index head) {
            Pack rows = load(z_.states, whole, lane, count);
            const auto [mine, theirs] = fold_.merge(rows, load(others, whole, lane, count), head);
            store(rows, whole, lane, count);
            store(mine, z_.factor + lane, whole, count);
            store(theirs, z_.largest + lane, whole, count);
        });
    }

    /// What a row has seen.
    Row row(Index lane) const {
        T values[members];
        for (Index m = 0; m < members; ++m) values[m] = z_.states[m * lanes_ + lane];
        Row row;
        std::memcpy(static_cast<void*>(&row), values, sizeof row);
        return row;
    }
    /// By `factor` the weighted values become the output; `lse` only where it is wanted.
    void finish(bool wants_lse) const {
        for_each_row([&](Index i, Index head) {
            const Row seen = row(i);
            z_.factor[i] = fold_.factor(seen, head);
            if (wants_lse) z_.lse[i] = fold_.lse(seen, head);
        });
    }

    /// Scores of a tile into weights but for the factor, when all has been seen.
    void weigh(T* s, Index keys) const {
        for_each_packet([&](auto whole, Index lane, Index count, Index head) ATTEND_ALWAYS_INLINE {
            const Pack rows = load(z_.states, whole, lane, count);
            LaneScores<T, whole>(s + lane, lanes_, keys, z_.largest + lane, count)
                .replace([&](const Lanes<T>& x) ATTEND_ALWAYS_INLINE { return fold_.weight(x, rows, head); });
        });
    }
    void weigh_rows(T* s, Index keys, Index apart) const {
        for_each_row([&](Index i, Index head) {
            T values[members];
            Lanes<T> same[members];
            const Row seen = row(i);
            std::memcpy(values, &seen, sizeof seen);
            for (Index m = 0; m < members; ++m) same[m] = Lanes<T>(values[m]);
            Pack rows;
            std::memcpy(static_cast<void*>(&rows), same, sizeof rows);
            RowScores<T>(s + i * apart, keys).replace([&](const Lanes<T>& x) { return fold_.weight(x, rows, head); });
        });
    }

    /// Calls `f(whole, lane, count, head)` for packets of rows: of all lanes, or where the fold tells heads apart, head
    /// by head.
    template <class Each>
    ATTEND_ALWAYS_INLINE void for_each_packet(Each&& f) const {
        for_each_packet(LaneRange{0, lanes_}, f);
    }
    /// Those of a range of lanes, which is all of them where a block has several heads.
    template <class Each>
    ATTEND_ALWAYS_INLINE void for_each_packet(const LaneRange& range, Each&& f) const {
        constexpr Index w = simd::width<T>;
        constexpr bool alike = requires { requires F::heads_alike; };
        if (alike || block_.heads == 1) {
            for (Index i = range.begin; i < range.end; i += w) f(std::true_type(), i, w, block_.head);
        } else if constexpr (!alike) {
            for (Index h = 0; h < block_.heads; ++h) {
                for (Index i = 0; i < block_.rows; i += w)
                    f(std::false_type(), h * block_.rows + i, std::min(w, block_.rows - i), block_.head + h);
            }
        }
    }
    template <class Whole>
    ATTEND_ALWAYS_INLINE Pack load(Whole whole, Index lane, Index count) const {
        return load(z_.states, whole, lane, count);
    }

private:
    template <class Scores, class Whole>
    ATTEND_ALWAYS_INLINE void take(Scores scores, Whole whole, Index lane, Index count, Index head) const {
        Pack rows = load(z_.states, whole, lane, count);
        const Lanes<T> rescale = fold_.take(scores, rows, head);
        store(rows, whole, lane, count);
        store(rescale, z_.factor + lane, whole, count);
    }
    template <class Each>
    void for_each_row(Each&& f) const {
        for (Index h = 0, i = 0; h < block_.heads; ++h) {
            for (Index end = i + block_.rows; i < end; ++i) f(i, block_.head + h);
        }
    }
    template <class Whole>
    ATTEND_ALWAYS_INLINE Pack load(const T* states, Whole, Index lane, Index count) const {
        Lanes<T> values[members];
        for (Index m = 0; m < members; ++m) {
            const T* const at = states + m * lanes_ + lane;
            values[m] = Lanes<T>::of(Whole::value ? simd::load(at) : simd::load(at, count, T(0)));
        }
        Pack rows;
        std::memcpy(static_cast<void*>(&rows), values, sizeof rows);
        return rows;
    }
    template <class Whole>
    ATTEND_ALWAYS_INLINE void store(const Pack& rows, Whole whole, Index lane, Index count) const {
        Lanes<T> values[members];
        std::memcpy(static_cast<void*>(values), &rows, sizeof rows);
        for (Index m = 0; m < members; ++m) store(values[m], z_.states + m * lanes_ + lane, whole, count);
    }
    template <class Whole>
    ATTEND_ALWAYS_INLINE static void store(const Lanes<T>& x, T* to, Whole, Index count) {
        Whole::value ? simd::store(to, x.packet) : simd::store<T>(to, x.packet, count);
    }

    const F& fold_;
    const LaneBlock& block_;
    Index lanes_;
    const StateScratch<T>& z_;
};

}  // namespace attend::detail::fused

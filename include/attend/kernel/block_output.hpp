#pragma once
/// \file
/// What the forward pass of a block does without knowing its attention: it weighs values, and writes the output and the
/// LSE.

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include <attend/core/read_ahead.hpp>
#include <attend/kernel/block_scratch.hpp>
#include <attend/kernel/block_weights.hpp>
#include <attend/kernel/held_rows.hpp>
#include <attend/kernel/listed_keys.hpp>
#include <attend/kernel/walk.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// What a forward call writes, and who looks at its weights.
template <class T, class X>
struct Results {
    StridedView<X> out;
    StridedView<T> lse;  ///< may have no memory: not wanted then
    WeightsOutput<T> weights;
    const Insight<T>& insight;
};

/// What a block's forward pass knows without its attention: its scratch, its values and its output.
template <class T, class X, class E, class Head>
class BlockOutput {
public:
    const BlockRows<T, X>& rows;
    const Scratch<T>& z;
    bool by_rows;  ///< features or keys stand in lanes instead of queries
    Head keys;     ///< and values, of the block's head
    Index d_v;
    ReadAhead& ahead;
    bool first = true;  ///< no tile has been taken in

    BlockOutput(const BlockRows<T, X>& rows_, const Head& keys_, const Scratch<T>& scratch, bool by_rows_,
                ReadAhead& ahead_)
        : rows(rows_), z(scratch), by_rows(by_rows_), keys(keys_), d_v(rows.problem.shape.d_v), ahead(ahead_) {}

    /// Asks for what a block will need first, which this worker is likely to take next.
    template <class Source>
    ATTEND_NOINLINE void expect(const LaneBlock& next, const Source& source) {
        const Problem<X>& problem = rows.problem;
        source.head(problem.key_rows(next.sequence, next.kv_head))
            .later(ahead, next.key_begin, std::min(key_block, next.key_end - next.key_begin));
        for (Index h = next.head; h < next.head + next.heads; ++h)
            ahead.later(problem.query_slice(problem.q, next.sequence, h).middleRows(next.row, next.rows));
    }
    /// Asks for the rows that `write` will write.
    void expect_output(const StridedView<X>& out) {
        for (Index h = 0; h < (by_rows ? 0 : rows.block.heads); ++h) ahead.later(rows.of(out, h));
    }

    /// Values of a tile, read as the products of its blocks take them.
    void read_values(KeyTile<T>& tile) const {
        if (tile.has_v) return;
        tile.has_v = true;
        ::new (&tile.rows) StridedMatrix<T>(keys.values(tile.begin, tile.keys, z.v, reading()));
        if (!by_rows) tile.v = {{tile.rows.data, tile.rows.depth_stride, tile.rows.row_stride}};
    }
    /// o = factor ∘ o + weights after dropout · values, in a range of lanes; of the first tile without what stood in o.
    /// `sees` tells who sees values that are not finite.
    ATTEND_NOINLINE void add_weighted_values(KeyTile<T>& tile, Cover cover, const LaneRange& range,
                                             LaneOperand<T>& weights, const ScoreStrides& apart,
                                             const Products<T, E>& products, const PairTest& sees) {
        rows.drop(tile.position, tile.keys, weights.data, apart, range);
        const T* const factor = first ? nullptr : z.rows.factor;
        if constexpr (ReadsHeldRows<Head, E, T>) {
            if (by_rows && add_held_values(tile, cover, weights.data, factor, apart, products)) return;
        }
        const bool held = packs_held_values(tile, products);
        if (!held) read_values(tile);
        if (cover == Cover::some && !has_finite_values(tile, held)) [[unlikely]] {
            read_values(tile);
            add_visible_values(tile, weights, factor, apart, products, sees);
            tile.has_v = false;
        } else {
            add_values(tile, range, weights, factor, apart, products);
        }
    }
    /// Keys and values packed from rows as they are held, where the engine does so.
    bool packs_held_keys([[maybe_unused]] KeyTile<T>& tile, [[maybe_unused]] const Products<T, E>& products) const {
        if constexpr (PacksHeld<Head, E, T>) {
            return products.packs(tile.keys) &&
                   products.engine.pack_held_keys(tile.k, keys.held_keys(tile.begin, tile.keys), z.scores.packed_k);
        }
        return false;
    }
    bool packs_held_values([[maybe_unused]] KeyTile<T>& tile, [[maybe_unused]] const Products<T, E>& products) const {
        if constexpr (PacksHeld<Head, E, T>) {
            return products.packs(tile.keys) &&
                   (tile.v.packed != nullptr ||
                    products.engine.pack_held_values(tile.v, keys.held_values(tile.begin, tile.keys), z.packed_v));
        }
        return false;
    }
    /// `held`: they need not be read for that.
    bool has_finite_values(KeyTile<T>& tile, [[maybe_unused]] bool held = false) const {
        if (tile.is_finite) return *tile.is_finite;
        if constexpr (PacksHeld<Head, E, T>) {
            if (held) {
                tile.is_finite = held_are_finite<T>(keys.held_values(tile.begin, tile.keys));
                return *tile.is_finite;
            }
        }
        read_values(tile);
        tile.is_finite = all_finite(tile.rows, tile.keys, d_v);
        return *tile.is_finite;
    }
    /// The output of no keys, in lanes.
    void clear(const LaneRange& range) const {
        for (Index a = 0; a < d_v; ++a) std::fill_n(z.o + a * rows.lanes + range.begin, range.count(), T(0));
    }
    void start_listed() {
        std::fill_n(z.o, rows.block.count() * d_v, T(0));
        first = false;
    }
    /// The same of some lanes and a batch of keys that their mask lists.
    ATTEND_NOINLINE void add_listed(ListedBatch<T>& listed, Index lane, Index count, const T* weights,
                                    const ScoreStrides& apart, const Products<T, E>& products) const {
        T* const o = z.o + lane * d_v;
        const auto add = [&] {
            products.add_row_values(listed.values(), weights, count, apart, z.rows.factor + lane, o);
        };
        // What is not finite shows in a first sum. Others are too long for that to be done again.
        if (listed.batch.is_first) {
            add();
            if (all_finite<T>({o, d_v, 1}, count, d_v)) return;
            std::fill_n(o, count * d_v, T(0));
        }
        // It may be that of a key that one query sees and the other does not.
        listed.leave_out_infinite(z.listed);
        add();
        listed.for_each_infinite([&](Index j, Index a, T value) {
            for (Index i = 0; i < count; ++i) {
                if (listed.batch.seen[i] >> j & 1) o[i * d_v + a] += weights[i * apart.query + j] * value;
            }
        });
    }
    /// The output of no keys where there was no tile.
    void end() const {
        if (first) std::fill(z.o, z.o + d_v * rows.lanes, T(0));
    }

    /// Leaves what has been seen so far, or starts from it, or takes in the keys that another task has seen.
    void store(const Partial<T>& partial) const { partial.keep(z, rows.lanes, d_v); }
    void load(const Partial<T>& partial) const { partial.restore(z, rows.lanes, d_v); }
    void add(const Partial<T>& other) const {
        by_rows ? other.add_to_rows(z, rows.block.count(), d_v) : other.add_to_lanes(z, rows.lanes, d_v);
    }

    /// Writes factor ∘ o, and the LSEs.
    void write(const StridedView<X>& out, const StridedView<T>& lse) const {
        for (Index h = 0; h < rows.block.heads; ++h) {
            const Index from = h * rows.block.rows;
            if (lse.data != nullptr) {
                auto lses = rows.of(lse, h);
                for (Index i = 0; i < rows.block.rows; ++i) lses(i, 0) = z.rows.lse[from + i];
            }
            auto to = rows.of(out, h);
            if (by_rows) {
                for (Index i = 0; i < rows.block.rows; ++i)
                    scale_row(z.o + (from + i) * d_v, d_v, z.rows.factor[from + i], to.data() + i * to.outerStride(),
                              to.innerStride());
            } else {
                lanes_to_rows(z.o, rows.lanes, from, z.rows.factor, rows.block.rows, d_v, to.data(), to.outerStride(),
                              to.innerStride());
            }
        }
    }

private:
    void add_values(KeyTile<T>& tile, const LaneRange& range, LaneOperand<T>& weights, const T* factor,
                    const ScoreStrides& apart, const Products<T, E>& products) const {
        const Index count = tile.keys;
        if (by_rows) {
            products.add_row_values({tile.rows.data, tile.rows.row_stride, count, d_v, rows.streams()}, weights.data,
                                    rows.block.count(), apart, factor, z.o);
        } else {
            RowOperand<T>& values = tile.v;
            if (products.packs(count)) {
                products.prepare(values, d_v, count, z.packed_v);
                products.prepare(weights, count, rows.lanes, z.packed_weights);
            }
            products.multiply(values, d_v, count, weights, rows.lanes, range, z.o, {.factor = factor, .ahead = &ahead});
        }
    }
    /// The same of values as they are held. False, and nothing is done, where they cannot be read so.
    bool add_held_values(const KeyTile<T>& tile, Cover cover, const T* weights, const T* factor,
                         const ScoreStrides& apart, const Products<T, E>& products) const {
        using Rows = decltype(keys.held_values(Index(), Index()));
        const auto get = [&](Index begin, Index count) { return keys.held_values(begin, count); };
        const HeldRows<Rows> held(tile.begin, tile.keys, rows.block.key_end, rows.streams(), get);
        if (!held) return false;
        bool finite = true;
        if (cover == Cover::some)
            held.for_each([&](const Rows& v, Index) { finite = finite && held_are_finite<T>(v); });
        if (!finite) return false;
        held.for_each([&](const Rows& v, Index begin) {
            if (begin > 0) set_lanes(z.rows.factor, rows.lanes, T(1));  // what stands there is of this tile already
            products.add_row_values(v, weights + begin * apart.key, rows.block.count(), apart,
                                    begin > 0 ? z.rows.factor : factor, z.o);
        });
        return true;
    }
    /// The sum of weighted values of a lane and a feature.
    T& output(Index lane, Index a) const { return by_rows ? z.o[lane * d_v + a] : z.o[a * rows.lanes + lane]; }
    /// The same with values that are not finite, which a weight of 0 does not hide: they are left out, with the bits
    /// that finite ones would give to those who must not see them, and added to those who see them.
    void add_visible_values(const KeyTile<T>& tile, LaneOperand<T>& weights, const T* factor, const ScoreStrides& apart,
                            const Products<T, E>& products, const PairTest& sees) const {
        KeyTile<T> without(tile.begin, {tile.position, tile.keys});
        without.rows = {z.v, d_v, 1};
        if (tile.rows.data == z.v) without.rows = tile.rows;  // a copy already
        for (Index j = 0; j < tile.keys; ++j) {
            for (Index a = 0; a < d_v; ++a) {
                const T value = tile.rows(j, a);
                z.v[j * without.rows.row_stride + a * without.rows.depth_stride] = std::isfinite(value) ? value : T(0);
            }
        }
        without.v = {{z.v, without.rows.depth_stride, without.rows.row_stride}};
        add_values(without, rows.all(), weights, factor, apart, products);
        const StridedMatrix<T> values = keys.values(tile.begin, tile.keys, z.v, reading());
        for (Index j = 0; j < tile.keys; ++j) {
            for (Index a = 0; a < d_v; ++a) {
                const T value = values(j, a);
                if (std::isfinite(value)) continue;
                for (Index lane = 0; lane < rows.block.count(); ++lane) {
                    if (!sees(rows.position(lane, tile.position + j))) continue;
                    output(lane, a) += weights.data[j * apart.key + lane * apart.query] * value;
                }
            }
        }
    }
    Reading reading() const { return by_rows ? Reading::row_by_row : Reading::by_packets; }
};

}  // namespace attend::detail::fused

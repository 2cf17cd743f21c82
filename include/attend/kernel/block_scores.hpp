#pragma once
/// \file
/// The scores of one block of queries with the keys of its head, tile by tile. Queries stand in lanes, or of few
/// queries keys, and keys are read where they are.

#include <algorithm>
#include <limits>

#include <attend/kernel/block_queries.hpp>
#include <attend/kernel/held_rows.hpp>
#include <attend/kernel/listed_keys.hpp>
#include <attend/parts/final_scores.hpp>
#include <attend/parts/maps.hpp>
#include <attend/parts/pair_gradients.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// What else is wanted of the scores of a tile.
template <class T>
struct ScoreOptions {
    LaneRange lanes;             ///< of which lanes, where queries stand in lanes
    T* largest = nullptr;        ///< becomes the largest by lane, where queries stand in lanes
    T* raw = nullptr;            ///< becomes what the modifiers are given
    ReadAhead* ahead = nullptr;  ///< what to ask for by the way
};

/// One block of lanes.
template <class T, class A, class X, class E>
class BlockScores {
public:
    using S = typename A::ScoreFunctor;
    static constexpr bool dot = A::ScoreFunctor::pairing == Pairing::dot;

    /// `by_rows`: keys stand in lanes instead of queries, and in products features; a query's scores are `row` from the
    /// next one's then.
    BlockScores(const A& attention, const E& engine, const BlockRows<T, X>& rows, Index width, bool by_rows, Index row,
                const ScoreScratch<T>& scratch)
        : attention_(attention),
          rows_(rows),
          queries_(engine, rows, width, by_rows, scratch),
          apart_(by_rows ? ScoreStrides{row, 1} : ScoreStrides{1, rows.lanes}),
          z_(scratch) {}

    /// How products with the lanes are made.
    const Products<T, E>& engine() const { return queries_.products; }
    /// How far the scores of a tile stand from each other.
    const ScoreStrides& apart() const { return apart_; }

    /// Maps the queries and puts them into lanes. Their features row by row are there afterwards if they are wanted.
    void load_queries(bool rows_too = false) {
        const S& score = attention_.score();
        if constexpr (ScalesQueries<S, T>) {
            queries_.take_factor(query_factor<T>(score, queries_.width));
            if (!rows_too && queries_.load_in_place()) return;
        }
        for (Index h = 0; h < rows_.block.heads; ++h) {
            StridedBlock<T> mapped = queries_.mapped(h);
            const auto q = rows_.of(rows_.problem.q, h);
            if constexpr (ScalesQueries<S, T>) {
                copy_rows(q, queries_.factor, mapped.data(), mapped.outerStride());
            } else {
                map_queries(score, q, mapped);
            }
        }
        queries_.mapped_to_lanes();
        if constexpr (ExponentialScore<S, T>)
            q_has_exponentials_ = exponentials_of_lanes<S>(z_.q, z_.e_q, queries_.width, rows_.lanes);
    }

    /// A mask's cover of a tile of keys.
    Cover cover_of_tile(Index begin, Index keys) const {
        Cover cover = Cover::some;
        with_mask(attention_.mask, [&](const auto& mask) { cover = cover_of_tile(mask, begin, keys); });
        return cover;
    }
    /// How many keys of a tile some query may see: those behind them need not be looked at. Whole packets, and no
    /// fewer than make sums of rows go in parts, so that what is left is summed up as it was.
    Index seen_keys(Index begin, Index keys) const {
        constexpr Index step = std::max<Index>(w, 2 * row_parts);
        Index seen = keys;
        with_mask(attention_.mask, [&](const auto& mask) {
            while (seen > 0 &&
                   cover_of_tile(mask, begin + (seen - 1) / step * step, (seen - 1) % step + 1) == Cover::none)
                seen = (seen - 1) / step * step;
        });
        return seen;
    }
    /// Whether products of a range of lanes are less than those of all.
    bool has_ranges() const {
        return dot && LaneRangeEngine<E, T> && !queries_.by_rows && !engine().packs() && rows_.is_one_run();
    }
    /// Of a tile that is hidden in part, calls `f(lanes, begin, end)` for ranges of lanes and the keys, counted within
    /// the tile, before and behind which they see none; begin = end where there is none at all. Packets that see about
    /// the same go together, as wider products are faster.
    template <class F>
    void for_each_range(Index position, Index keys, F&& f) const {
        Index from = 0, seen = 0;  // of the packets in hand: the first lane, and how many keys each sees, added up
        KeyRange range{0, 0};
        for (Index lane = 0; lane < rows_.lanes; lane += w) {
            const KeyRange here = seen_by(lane, position, keys);
            const KeyRange both = range.with(here);
            const Index packets = (lane - from) / w + 1, together = packets * both.count();
            if (lane > 0 && 3 * together > 4 * (seen + here.count())) {
                f(LaneRange{from, lane}, range.begin, range.end);
                from = lane, seen = here.count(), range = here;
            } else {
                seen += here.count(), range = both;
            }
        }
        f(LaneRange{from, rows_.lanes}, range.begin, range.end);
    }
    /// The final scores of a tile of keys, whose features are `k`: products or sums over pairs, modified and masked. Of
    /// few queries `k` may also be rows as they are held.
    template <class Keys>
    void score(Keys& k, Index begin, Index keys, Cover cover, T* s, const ScoreOptions<T>& options) {
        T* const largest = queries_.by_rows ? nullptr : options.largest;
        if (largest != nullptr)
            set_lanes(largest + options.lanes.begin, options.lanes.count(), std::numeric_limits<T>::lowest());
        // Without modifiers the products are final scores.
        const bool final = dot && !modifies(attention_.modifiers) && cover == Cover::all;
        products(k, keys, options.lanes, s, final ? largest : nullptr, options.ahead);
        if (options.raw != nullptr) std::copy(s, s + keys * rows_.lanes, options.raw);
        if (final) return;
        if (queries_.by_rows) {
            rows_.for_each_row(begin, [&](Index lane, const Position& p) {
                finish_row(attention_, p, keys, cover, s + lane * apart_.query);
            });
        } else {
            with_modifiers(attention_.modifiers, [&](const auto& each) {
                with_mask(attention_.mask,
                          [&](const auto& mask) { finish(each, mask, begin, keys, cover, options.lanes, s, largest); });
            });
        }
    }
    Index width() const { return queries_.width; }
    /// The features of one query, where they stand row by row.
    const T* row_of(Index lane) const { return z_.mapped + lane * z_.mapped_stride; }
    /// The products of one query with a batch of keys into final scores.
    /// `seen` tells which of the keys it sees, a bit each.
    void finish_listed([[maybe_unused]] const KeyLists::Batch& batch, [[maybe_unused]] const RowPosition& row,
                       std::uint64_t seen, T* s) const {
        if (modifies(attention_.modifiers)) {
            T products[key_block];
            std::copy_n(s, batch.keys, products);
            batch.for_each_run([&](const KeySpan& run, Index first) {
                T some[key_block + w];  // whole packets are read and written, also behind a run
                std::copy_n(products + first, run.end - run.begin, some);
                finish_row(attention_, row.at(run.begin), run.end - run.begin, Cover::all, some);
                std::copy_n(some, run.end - run.begin, s + first);
            });
        }
        const auto hidden = simd::broadcast(-std::numeric_limits<T>::infinity());
        for (Index j = 0; j < batch.keys; j += w, seen >>= w)
            simd::store(s + j, simd::select(simd::mask_of_bits<T>(seen), simd::load(s + j), hidden));
    }
    /// Products of rows become scores, where a part of the queries' factor was left to them.
    void times_rest([[maybe_unused]] T* s, [[maybe_unused]] Index count, [[maybe_unused]] Index keys) const {
        if constexpr (RoundingEngine<E>) {
            if (queries_.scale == 1) return;
            for (Index i = 0; i < count; ++i)
                scale_row(s + i * apart_.query, keys, queries_.scale, s + i * apart_.query, 1);
        }
    }
    /// The gradients of a tile's scores become those of the products.
    void to_products([[maybe_unused]] T* ds, [[maybe_unused]] Index keys,
                     [[maybe_unused]] const LaneRange& range) const {
        if constexpr (RoundingEngine<E>) {
            if (queries_.scale == 1) return;
            for (Index j = 0; j < keys; ++j) {
                T* const of_key = ds + j * rows_.lanes + range.begin;
                scale_row(of_key, range.count(), queries_.scale, of_key, 1);
            }
        }
    }
    /// What the queries were multiplied by before they met the keys.
    T query_factor_taken() const { return queries_.factor; }
    /// The features of a tile of keys and of the queries, where they are paired one by one.
    PairTiles<T> pair_tiles(const StridedMatrix<T>& k, Index keys) const {
        const Index width = queries_.width, lanes = rows_.lanes;
        PairTiles<T> tiles{{k, z_.q, width, lanes}, {{z_.e_k, width, 1}, z_.e_q, width, lanes}, false};
        if constexpr (ExponentialScore<S, T>)
            tiles.all = exponentials_of_rows<S>(k, keys, width, z_.e_k) && q_has_exponentials_;
        return tiles;
    }

private:
    struct KeyRange {
        Index begin, end;

        Index count() const { return end - begin; }
        KeyRange with(const KeyRange& other) const {
            if (count() == 0) return other;
            if (other.count() == 0) return *this;
            return {std::min(begin, other.begin), std::max(end, other.end)};
        }
    };

    static constexpr Index w = simd::width<T>;
    static constexpr Index few_keys = 8;  ///< which products go by, in ranges of lanes
    template <class Each>
    static constexpr bool modifies_tiles = tile_modifiers<Each, T>() > 0;

    template <class M>
    Cover cover_of_tile(const M& mask, Index begin, Index keys) const {
        Cover all = Cover::some;
        for (Index h = 0; h < rows_.block.heads; ++h) {
            for (Index row = 0, rows = 0; row < rows_.block.rows; row += rows) {
                rows = rows_.following(row);
                const Cover cover = cover_of(mask, rows_.tile(h, row, rows, begin, keys));
                if (h == 0 && row == 0) {
                    all = cover;
                } else if (cover != all) {
                    return Cover::some;
                }
            }
        }
        return all;
    }
    /// Before and behind which keys of a tile the queries of a packet see none.
    KeyRange seen_by(Index lane, Index position, Index keys) const {
        const Index count = std::min(w, rows_.block.rows - lane);
        KeyRange range{0, keys};
        with_mask(attention_.mask, [&](const auto& mask) {
            const auto hidden = [&](Index begin, Index end) {
                return cover_of(mask, rows_.tile(0, lane, count, position + begin, end - begin)) == Cover::none;
            };
            const auto last = [&] { return (range.end - 1) / few_keys * few_keys; };
            while (range.end > 0 && hidden(last(), range.end)) range.end = last();
            while (range.begin < range.end && hidden(range.begin, std::min(range.begin + few_keys, range.end)))
                range.begin += few_keys;
        });
        return range;
    }
    /// s = the products of a tile's pairs, before modifiers and mask; `largest`, by lane, is raised to the largest.
    void products(RowOperand<T>& k, Index keys, const LaneRange& range, T* s, T* largest, ReadAhead* ahead) {
        if (queries_.by_rows) {
            engine().row_scores({k.matrix.data, k.matrix.row_stride, keys, queries_.width, rows_.streams()}, z_.mapped,
                                rows_.block.count(), s, apart_);
            times_rest(s, rows_.block.count(), keys);
        } else if constexpr (dot) {
            queries_.multiply(k, keys, range, s, largest, ahead);
        } else {
            pair_tile(k.matrix, keys, s);
        }
    }
    template <class Rows>
    void products(const HeldRows<Rows>& k, Index, const LaneRange&, T* s, T*, ReadAhead*) {
        k.for_each([&](const Rows& rows, Index begin) {
            engine().row_scores(rows, z_.mapped, rows_.block.count(), s + begin * apart_.key, apart_);
            times_rest(s + begin * apart_.key, rows_.block.count(), rows.rows);
        });
    }
    /// Products into final scores: modifies and masks those of a tile, and raises `largest` if there is one.
    template <class Each, class M>
    void finish(const Each& modifiers, const M& mask, Index begin, Index keys, Cover cover, const LaneRange& range,
                T* s, T* largest) {
        if constexpr (modifies_tiles<Each>) modify_tile(modifiers, s, begin, keys, range);
        Index whole = range.end;  // the lanes before the first packet that is cut
        rows_.for_each_packet(begin, range, [&](Index lane, const LanePosition<T>& p) {
            if (p.query.count == w) {
                const auto most = finish_packet<true>(modifiers, mask, s + lane, keys, p, cover);
                if (largest != nullptr) simd::store(largest + lane, most);
                return;
            }
            whole = std::min(whole, lane);
            finish_packet<false>(modifiers, mask, s + lane, keys, p, cover);
        });
        if (largest == nullptr) return;
        for (Index i = whole / w * w; i < range.end; i += w) {
            for (Index j = 0; j < keys; ++j)
                simd::store(largest + i, simd::max(simd::load(largest + i), simd::load(s + j * apart_.key + i)));
        }
    }
    /// The same of a packet of queries; returns the largest of each.
    template <bool whole, class Each, class M>
    simd::Packet<T> finish_packet(const Each& modifiers, const M& mask, T* s, Index keys, const LanePosition<T>& first,
                                  Cover cover) const {
        constexpr bool any = std::tuple_size_v<Each> > 0;
        const Index count = whole ? w : first.query.count;
        // Made of numbers that stay in registers: of one that is counted up in memory each key would wait for the last.
        const LaneIndex<T> query{first.query.first, first.query.step, count}, row{first.row.first, 1, count};
        const Index key = first.key, head = first.head, kv_head = first.kv_head, sequence = first.sequence;
        auto most = simd::broadcast(std::numeric_limits<T>::lowest());
        for (Index j = 0; j < keys; ++j, s += apart_.key) {
            const LanePosition<T> p{query, key + j, row, head, kv_head, sequence};
            auto x = Lanes<T>::of(whole ? simd::load(s) : simd::load(s, count, T(0)));
            if constexpr (any && !modifies_tiles<Each>) x = on_lanes(modifiers, x, p);
            const bool hides = cover == Cover::some &&
                               (whole ? hide<T>(mask, x.packet, p) : hide_by_call<T>(attention_.mask, x.packet, p));
            if (any || hides) whole ? simd::store(s, x.packet) : simd::store<T>(s, x.packet, count);
            most = simd::max(most, x.packet);
        }
        return most;
    }

    void pair_tile(const StridedMatrix<T>& k, Index keys, T* to) {
        const S& score = attention_.score();
        const PairTiles<T> tiles = pair_tiles(k, keys);
        // Each pair by itself: its bits must not depend on the queries and keys beside it.
        if (!tiles.all) add_pairs(score, tiles.features, keys, to);
        if constexpr (ExponentialScore<S, T>) add_exponentials(score, tiles.exponentials, keys, tiles.all, to);
    }

    void modify(T* s, Index key, const LaneRange& range, const auto& modifiers) {
        rows_.for_each_packet(key, range, [&](Index lane, const LanePosition<T>& p) {
            const Index count = p.query.count;
            const auto scores = Lanes<T>::of(simd::load(s + lane, count, T(0)));
            simd::store<T>(s + lane, on_lanes(modifiers, scores, p).packet, count);
        });
    }
    /// One modifier after the other, where one of them wants more than a key at a time.
    void modify_tile(const auto& modifiers, T* s, Index begin, Index keys, const LaneRange& range) {
        const auto one = [&](const auto& modifier) {
            if constexpr (TileModifier<std::remove_cvref_t<decltype(modifier)>, T>) {
                rows_.for_each_packet(begin, range, [&](Index lane, const LanePosition<T>& p) {
                    modifier.on_tile(s + lane, apart_.key, keys, p);
                });
            } else {
                for (Index j = 0; j < keys; ++j) modify(s + j * apart_.key, begin + j, range, modifier);
            }
        };
        std::apply([&](const auto&... modifier) { (one(modifier), ...); }, modifiers);
    }
    const A& attention_;
    const BlockRows<T, X>& rows_;
    BlockQueries<T, X, E> queries_;
    const ScoreStrides apart_;
    const ScoreScratch<T>& z_;
    bool q_has_exponentials_ = false;
};

}  // namespace attend::detail::fused

#pragma once
/// \file
/// The fused forward kernel of one block of queries, tile by tile of keys. Queries stand in lanes, so that maximum, sum
/// and rescaling of the online softmax are lane-wise, and values are read where they are.

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <span>

#include <attend/kernel/block_output.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// One block of lanes over its keys.
template <class T, class A, class X, class Source>
class BlockForward {
public:
    using Head = typename Source::Head;
    using E = ForwardEngine<T, A, X, Source>;

    BlockForward(const A& attention, const Problem<X>& problem, const Source& source, const LaneBlock& block,
                 Index width, const Scratch<T>& scratch, ReadAhead& ahead)
        : attention_(attention),
          rows_(problem, block),
          by_rows_(by_lists || (Scores::dot && are_few<T, E>(problem.queries(block.sequence),
                                                             problem.keys(block.sequence), width, problem.shape.d_v))),
          scores_(attention, engine_of<Source, T, X>(attention), rows_, width, by_rows_, scratch.row, scratch.scores),
          states_(fold_of<N>(attention.normalizer), rows_.block, rows_.lanes, scratch.rows),
          output_(rows_, source.head(problem.key_rows(block.sequence, block.kv_head)), scratch, by_rows_, ahead),
          apart_(scores_.apart()),
          z_(scratch) {}

    /// Whether `take_listed` takes in the block's keys.
    static constexpr bool by_lists = goes_by_lists<T, A, Head>;

    /// What is done without the attention.
    BlockOutput<T, X, E, Head>& output() { return output_; }
    const Products<T, E>& engine() const { return scores_.engine(); }

    void load_queries() { scores_.load_queries(); }
    /// Output, sum and maximum of no keys, into the scratch.
    void start() {
        load_queries();
        if constexpr (!RowNormalizer<N>) states_.start();
        if constexpr (RowNormalizer<N>) std::fill(z_.s, z_.s + z_.row * rows_.lanes, -infinity);
    }
    Cover cover_of_tile(Index begin, Index keys) const { return scores_.cover_of_tile(begin, keys); }
    /// Takes in a tile of keys. A normalizer that needs a row whole only keeps its scores.
    void take(KeyTile<T>& tile, Cover cover, bool wants_lse) {
        if (by_rows_ && cover == Cover::some) tile.keys = scores_.seen_keys(tile.position, tile.keys);
        if (cover == Cover::none || tile.keys == 0) return;
        if (cover == Cover::some && scores_.has_ranges() && has_finite_values(tile)) {
            take_ranges(tile, wants_lse);
        } else {
            take(tile, cover, rows_.all(), wants_lse);
        }
        output_.first = output_.first && RowNormalizer<N>;
    }
    /// Takes in the keys that the mask lists, of a few queries at a time.
    void take_listed() {
        const LaneBlock& block = rows_.block;
        output_.start_listed();
        KeyLists lists;
        for (Index lane = 0, count = 0; lane < block.count(); lane += count) {
            count = std::min(queries_of_list, block.rows - lane % block.rows);
            const auto row_at = [&](Index i) {
                const Index head = quotient(lane, block.rows);
                return rows_.problem.row_position(block.sequence, block.head + head,
                                                  block.row + lane + i - head * block.rows);
            };
            lists.for_each_batch(attention_.mask, count, row_at, KeySpan{block.key_begin, block.key_end}, z_.tile,
                                 [&](const KeyLists::Batch& batch) { take_listed(batch, lane, count, row_at); });
        }
    }
    /// Takes in what another task has seen of the block's keys.
    void merge(const Partial<T>& other) {
        states_.merge(other.states);
        output_.add(other);
    }
    /// What remains to be done when the block has seen all its keys.
    void end() {
        if constexpr (RowNormalizer<N>) {
            normalize_rows();
            walk_keys(rows_.block.key_begin, rows_.block.key_end, [&](KeyTile<T>& tile, Cover cover) {
                LaneOperand<T> weights{scores_of(tile)};
                if (cover == Cover::none) return;
                add_weighted_values(tile, cover, rows_.all(), weights);
                output_.first = false;
            });
        }
        output_.end();
    }

    /// Writes the rows of the output, the LSE and the weights, as far as they are wanted, and shows the weights to
    /// those who look at them.
    ATTEND_NOINLINE void finish(const Results<T, X>& results) {
        const bool wants_lse = results.lse.data != nullptr;
        if constexpr (Fold<N>) {
            states_.finish(wants_lse);
        } else {
            if (PairNormalizer<N> && wants_lse) states_.finish(true);
            set_lanes(z_.rows.factor, rows_.lanes, T(1));
        }
        output_.write(results.out, results.lse);
        const BlockWeights<T, X> weights(rows_, z_, by_rows_);
        const bool writes = weights.wants(results.weights), shows = weights.is_looked_at(results.insight);
        if (writes || shows)
            weigh_again(weights, writes ? &results.weights : nullptr, shows ? &results.insight : nullptr);
    }

private:
    static constexpr T infinity = std::numeric_limits<T>::infinity();
    using Scores = BlockScores<T, A, X, E>;
    using N = typename A::NormalizerFunctor;

    /// This block's walk over keys of its own.
    template <class F>
    void walk_keys(Index begin, Index end, F&& f) {
        walk<T>(
            output_.keys, begin, end, [&](auto&& each) { each(scores_); },
            [&](auto&, KeyTile<T>& tile, Cover cover) { f(tile, cover); });
    }
    /// Takes in a tile for a range of lanes.
    void take(KeyTile<T>& tile, Cover cover, const LaneRange& range, [[maybe_unused]] bool wants_lse) {
        T* const s = scores_of(tile);
        score_tile(tile, cover, range, s);
        if constexpr (RowNormalizer<N>) hide_behind(tile.keys, s);
        LaneOperand<T> weights{s};
        if constexpr (Fold<N>) {
            weigh(tile.keys, range, weights);
        } else if constexpr (PairNormalizer<N>) {
            if (wants_lse)
                by_rows_ ? states_.see_rows(z_.s, tile.keys, apart_.query) : states_.see(z_.s, tile.keys, range);
            weigh_pairs(tile.keys, range);
        } else {
            return;
        }
        add_weighted_values(tile, cover, range, weights);
    }
    /// Takes in a tile that is hidden in part, of finite values: for each range of lanes the keys that these may see.
    ATTEND_NOINLINE void take_ranges(KeyTile<T>& tile, bool wants_lse) {
        read_keys(tile);
        scores_.for_each_range(tile.position, tile.keys, [&](const LaneRange& range, Index begin, Index end) {
            if (begin == end) {
                if (output_.first) output_.clear(range);
                return;
            }
            KeyTile<T> part = tile.part(begin, end - begin);
            take(part, Cover::some, range, wants_lse);
        });
    }
    bool has_finite_values(KeyTile<T>& tile) const { return RowNormalizer<N> || output_.has_finite_values(tile); }
    template <class RowAt>
    void take_listed(const KeyLists::Batch& batch, Index lane, Index count, const RowAt& row_at) {
        ListedBatch<T> listed(batch, output_.keys, scores_.width(), output_.d_v, z_.scores.k, z_.v);
        T* const s = z_.s + lane * apart_.query;
        engine().row_scores(listed.keys(), scores_.row_of(lane), count, s, apart_);
        scores_.times_rest(s, count, batch.keys);
        for (Index i = 0; i < count; ++i) {
            const RowPosition row = row_at(i);
            scores_.finish_listed(batch, row, batch.seen[i], s + i * apart_.query);
            states_.take_row(s + i * apart_.query, lane + i, row.head, batch.keys);
            rows_.drop_listed(batch, row, s + i * apart_.query);
        }
        output_.add_listed(listed, lane, count, s, apart_, engine());
    }
    /// Where the scores of a tile stand.
    T* scores_of(const KeyTile<T>& tile) const { return RowNormalizer<N> ? z_.s + tile.begin * apart_.key : z_.s; }

    /// The final scores of a tile, and the largest.
    void score_tile(KeyTile<T>& tile, Cover cover, const LaneRange& range, T* s) {
        if constexpr (Scores::dot && ReadsHeldRows<Head, E, T>) {
            if (by_rows_) {
                const auto get = [&](Index begin, Index count) { return output_.keys.held_keys(begin, count); };
                HeldRows<decltype(get(0, 0))> held(tile.begin, tile.keys, rows_.block.key_end, rows_.streams(), get);
                if (held) return scores_.score(held, tile.position, tile.keys, cover, s, {.lanes = range});
            }
        }
        read_keys(tile);
        scores_.score(tile.k, tile.position, tile.keys, cover, s,
                      {.lanes = range, .largest = z_.rows.largest, .ahead = &output_.ahead});
    }
    void read_keys(KeyTile<T>& tile) {
        if (tile.has_k) return;
        tile.has_k = true;
        if (!output_.packs_held_keys(tile, engine())) {
            // In place: a copy would wait for what has just been written.
            ::new (&tile.k) RowOperand<T>{output_.keys.keys(tile.begin, tile.keys, z_.scores.k,
                                                            by_rows_ ? Reading::row_by_row : Reading::by_packets)};
        }
        const Index begin = tile.begin + tile.keys, next = std::min(key_block, rows_.block.key_end - begin);
        if (next > 0 && rows_.block.first) output_.keys.soon(output_.ahead, begin, next);
    }

    /// Products fill whole packets: what stands behind a tile's keys is no score, even if the next tile is not looked
    /// at.
    void hide_behind(Index keys, T* s) const {
        if (!by_rows_) return;
        for (Index lane = 0; lane < rows_.block.count(); ++lane) {
            T* const row = s + lane * apart_.query;
            std::fill(row + keys, row + simd::padded<T>(keys), -infinity);
        }
    }
    /// Scores into weights, packed already where the engine packs what is made.
    void weigh(Index keys, const LaneRange& range, [[maybe_unused]] LaneOperand<T>& weights) {
        if (by_rows_) return states_.take_rows(z_.s, keys, apart_.query);
        if constexpr (may_pack<T, A, E> && PacksWhatIsMade<E, T>) {
            if (engine().packs(keys)) {
                states_.take(engine().engine, z_.s, keys, z_.packed_weights);
                if (!rows_.problem.dropout) weights.packed = z_.packed_weights;
                return;
            }
        }
        states_.take(z_.s, keys, range);
    }
    /// Scores into weights, each by itself.
    void weigh_pairs(Index keys, const LaneRange& range) {
        set_lanes(z_.rows.factor + range.begin, range.count(), T(1));
        if (by_rows_) {
            return rows_.for_each_row(0, [&](Index lane, const Position& p) {
                RowScores<T>(z_.s + lane * apart_.query, keys).replace([&](const Lanes<T>& s) ATTEND_ALWAYS_INLINE {
                    return attention_.normalizer.weight(s, p.head);
                });
            });
        }
        for (Index j = 0; j < keys; ++j) {
            T* const s = z_.s + j * apart_.key;
            rows_.for_each_packet(j, range, [&](Index lane, const LanePosition<T>& p) {
                const Index count = p.query.count;
                const auto scores = Lanes<T>::of(simd::load(s + lane, count, T(0)));
                simd::store<T>(s + lane, attention_.normalizer.weight(scores, p.head).packet, count);
            });
        }
    }
    /// Whole rows of scores into weights; their LSEs stay until the end.
    void normalize_rows() {
        const Index n = rows_.block.key_end;
        rows_.for_each_row(0, [&](Index lane, const Position& p) {
            T *const from = z_.s + lane * apart_.query, *const row = by_rows_ ? from : z_.one_row;
            for (Index j = 0; j < (by_rows_ ? 0 : n); ++j) row[j] = from[j * apart_.key];
            z_.rows.lse[lane] =
                attention_.normalizer.normalize(std::span<T>(row, static_cast<std::size_t>(n)),
                                                RowPosition{p.query, p.row, p.head, p.kv_head, p.sequence});
            for (Index j = 0; j < (by_rows_ ? 0 : n); ++j) from[j * apart_.key] = row[j];
        });
        set_lanes(z_.rows.factor, rows_.lanes, T(1));
    }
    void add_weighted_values(KeyTile<T>& tile, Cover cover, const LaneRange& range, LaneOperand<T>& weights) {
        output_.add_weighted_values(tile, cover, range, weights, apart_, engine(), PairTest(attention_.mask));
    }

    /// The scores of a tile, beside the weights that take their place.
    void keep_scores(KeyTile<T>& tile, Cover cover, const T* s) {
        if (RowNormalizer<N>) return score_tile(tile, cover, rows_.all(), z_.seen);
        const Index lines = by_rows_ ? rows_.block.count() : tile.keys, apart = by_rows_ ? apart_.query : apart_.key;
        for (Index i = 0; i < lines * apart; i += apart) std::copy_n(s + i, by_rows_ ? tile.keys : apart, z_.seen + i);
    }
    /// The weights of all keys, tile by tile, formed again but where a normalizer needed its rows whole: they are
    /// written, and shown to those who look at them.
    ATTEND_NOINLINE void weigh_again(const BlockWeights<T, X>& weights, const WeightsOutput<T>* output,
                                     const Insight<T>* insight) {
        [[maybe_unused]] const auto session = engine().session();
        const Index end = rows_.problem.keys(rows_.block.sequence);
        walk_keys(0, end, [&](KeyTile<T>& tile, Cover cover) {
            if (cover == Cover::none) {
                if (output != nullptr) weights.hide(tile.begin, tile.begin + tile.keys, *output);
                return;
            }
            T* const s = scores_of(tile);
            if constexpr (!RowNormalizer<N>) score_tile(tile, cover, rows_.all(), s);
            if (insight != nullptr && z_.seen != nullptr) keep_scores(tile, cover, s);
            if constexpr (!RowNormalizer<N>) {
                if constexpr (PairNormalizer<N>) {
                    weigh_pairs(tile.keys, rows_.all());
                } else {
                    by_rows_ ? states_.weigh_rows(s, tile.keys, apart_.query) : states_.weigh(s, tile.keys);
                }
                rows_.drop(tile.position, tile.keys, s, apart_);
            }
            if (output != nullptr) weights.write(tile.begin, tile.keys, s, apart_, *output);
            if (insight != nullptr) weights.show(tile, s, apart_, *insight);
        });
        if (output != nullptr) weights.hide(end, output->to.columns, *output);
    }

    const A& attention_;
    BlockRows<T, X> rows_;
    bool by_rows_;  ///< features or keys stand in lanes instead of queries
    Scores scores_;
    RowStates<T, FoldOf<N>> states_;
    BlockOutput<T, X, E, Head> output_;
    const ScoreStrides& apart_;  ///< of the scores of this tile
    const Scratch<T>& z_;
};

}  // namespace attend::detail::fused

#pragma once
/// \file
/// The weights of one block of queries, formed again tile by tile from the LSE, and the gradients of its scores.

#include <algorithm>
#include <limits>
#include <span>

#include <attend/kernel/backward_scratch.hpp>
#include <attend/kernel/block_scores.hpp>
#include <attend/kernel/walk.hpp>
#include <attend/parts/fold_gradients.hpp>
#include <attend/parts/modifier_gradients.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// One block of lanes, whose gradient of the output stands in lanes in the scratch.
template <class T, class A, class X, class E, class Head>
class BlockScoreGradients {
public:
    using Scores = BlockScores<T, A, X, E>;
    using N = typename A::NormalizerFunctor;

    BlockScoreGradients(const A& attention, const Gradients<T, X>& gradients, const ParameterGradients<A>& parameters,
                        const BlockRows<T, X>& rows, const Head& keys, Scores& scores,
                        const BackwardScratch<T>& scratch)
        : attention_(attention),
          gradients_(gradients),
          parameters_(parameters),
          rows_(rows),
          scores_(scores),
          z_(scratch),
          keys_(keys),
          fold_(fold_of<N>(attention.normalizer), rows, scratch),
          keeps_(rows.block.key_end <= scratch.room) {}

    /// Takes the gradient of the output, which stands in lanes by now, as an operand.
    void load_dout() {
        dout_ = {z_.dout};
        if constexpr (PacksHeld<Head, E, T>)
            scores_.engine().prepare(dout_, rows_.problem.shape.d_v, rows_.lanes, z_.packed_dout_lanes);
    }
    /// For the tiles of keys that the mask does not hide forms the weights, after dropout, and the gradients of the
    /// products that became scores, key after key, and those of the modifiers and of the normalizer. `by_ranges`:
    /// whether a tile that is hidden in part may be taken a range of lanes at a time, each with the keys that it sees.
    /// Calls `of_range(begin, keys, cover, lanes, ds)` for what is taken at a time, and then `of_tile(begin, keys, p,
    /// ds)`, where what no range sees is 0.
    template <class OfRange, class OfTile>
    void for_each_tile(bool by_ranges, OfRange&& of_range, OfTile&& of_tile) {
        const auto finish = [&](Index tile, Index begin, Index keys, Cover cover, const LaneRange& range) {
            clear_idle_lanes(tile, begin, keys);
            with_modifiers(attention_.modifiers, parameters_.modifiers, [&](const auto& each, auto* gradient) {
                if constexpr (std::tuple_size_v<std::remove_cvref_t<decltype(each)>> > 0)
                    modifiers_backward(each, rows_, {begin, keys, range}, z_.raw + at(tile, begin),
                                       z_.ds + at(tile, begin), z_.kept, gradient);
            });
            rows_.drop(begin, keys, z_.p + at(tile, begin), {1, rows_.lanes}, range);
            scores_.to_products(z_.ds + at(tile, begin), keys, range);
            of_range(begin, keys, cover, range, z_.ds + at(tile, begin));
        };
        if constexpr (RowNormalizer<N>) {
            std::fill(z_.p, z_.p + rows_.block.key_end * rows_.lanes, -infinity);
            std::fill(z_.ds, z_.ds + rows_.block.key_end * rows_.lanes, T(0));
            visible_tiles([&](Index begin, Index keys, Cover cover) { score_tile(begin, keys, cover); });
            normalize_rows();
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                finish(begin, begin, keys, cover, rows_.all());
                of_tile(begin, keys, z_.p + at(begin), z_.ds + at(begin));
            });
        } else {
            if constexpr (Fold<N>) load_rows();
            visible_tiles([&](Index tile, Index keys, Cover cover) {
                const auto take = [&](const LaneRange& range, Index from, Index end) {
                    const Index begin = tile + from, count = end - from;
                    if (count > 0) {
                        if (!scored_) score_part(tile, begin, count, cover, range);
                        if constexpr (Fold<N>) {
                            fold_.backward(at(tile, begin), count, range, parameters_.normalizer);
                        } else {
                            weigh_pairs(tile, begin, count, range);
                        }
                        finish(tile, begin, count, cover, range);
                    }
                    clear(range, at(tile), from);
                    clear(range, at(tile, tile + end), keys - end);
                };
                if (cover == Cover::some && by_ranges && !scored_ && may_split(tile, keys)) {
                    scores_.for_each_range(tile, keys, take);
                } else {
                    take(rows_.all(), 0, keys);
                }
                of_tile(tile, keys, z_.p + at(tile), z_.ds + at(tile));
            });
        }
    }

    /// The features of a tile of keys.
    StridedMatrix<T> keys_of_tile(Index begin, Index keys) const {
        return keys_.keys(begin, keys, z_.scores.k, Reading::by_packets);
    }

private:
    /// The rows of a tile as operands of products with the lanes: as they are held, where the engine packs them so.
    RowOperand<T> key_operand(Index begin, Index keys) const {
        if constexpr (PacksHeld<Head, E, T>) {
            RowOperand<T> k{};
            if (packs_rows(k, keys, keys_.held_keys(begin, keys), z_.scores.packed_k)) return k;
        }
        return {keys_of_tile(begin, keys)};
    }
    RowOperand<T> value_operand(Index begin, Index keys) const {
        if constexpr (PacksHeld<Head, E, T>) {
            RowOperand<T> v{};
            if (packs_rows(v, keys, keys_.held_values(begin, keys), z_.packed_v)) return v;
        }
        return {keys_.values(begin, keys, z_.v, Reading::by_packets)};
    }
    template <class Rows>
    bool packs_rows(RowOperand<T>& operand, Index keys, const Rows& rows, std::byte* to) const {
        return scores_.engine().packs(keys) && scores_.engine().engine.pack_held_keys(operand, rows, to);
    }

    static constexpr T infinity = std::numeric_limits<T>::infinity();

    /// Where a tile of scores stands in `z_`, and in that what begins with another key.
    Index at(Index tile) const { return keeps_ ? tile * rows_.lanes : 0; }
    Index at(Index tile, Index begin) const { return at(tile) + (begin - tile) * rows_.lanes; }
    /// Neither weights nor gradients.
    void clear(const LaneRange& range, Index from, Index keys) const {
        for (Index j = 0; j < keys; ++j, from += rows_.lanes) {
            set_lanes(z_.p + from + range.begin, range.count(), T(0));
            set_lanes(z_.ds + from + range.begin, range.count(), T(0));
        }
    }

    /// Whether the ranges of lanes of a tile that is hidden in part may be taken one by one.
    bool may_split(Index begin, Index keys) const {
        return scores_.has_ranges() && gradients_.dweights.data == nullptr &&
               all_finite(keys_of_tile(begin, keys), keys, rows_.problem.shape.d_k);
    }

    template <class F>
    void visible_tiles(F&& f) const {
        walk<T>(
            AtTheirIndex(), 0, rows_.block.key_end, [&](auto&& each) { each(scores_); },
            [&](const auto&, const KeyTile<T>& tile, Cover cover) {
                if (cover != Cover::none) f(tile.begin, tile.keys, cover);
            });
    }

    /// Lanes without a query made weights of whatever a formula makes of features that are 0, but must not give any.
    void clear_idle_lanes(Index tile, Index begin, Index keys) const {
        const Index idle = rows_.lanes - rows_.block.count();
        if (idle == 0) return;
        for (Index j = 0; j < keys; ++j) {
            const Index first = at(tile, begin) + j * rows_.lanes + rows_.block.count();
            std::fill_n(z_.p + first, idle, T(0));
            std::fill_n(z_.ds + first, idle, T(0));
        }
    }

    /// The LSE and δ of each lane, and what the rows give to the parameters of their fold.
    void load_rows() {
        fold_.load(gradients_.lse);
        if (fold_.sees_again()) [[unlikely]] {
            fold_.start_seeing();
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                final_scores(begin, begin, keys, cover, rows_.all());
                fold_.see(z_.p + at(begin), keys);
            });
            fold_.end_seeing();
        }
        // Of weights that the loss reads itself, and of an output rounded to 16 bits, which is too rough, δ is that of
        // a walk of its own. What that makes of the tiles stays, where there is room for them.
        if (!sees_twice<T, X> && gradients_.dweights.data == nullptr) {
            fold_.delta_of_output(gradients_.out, rows_.problem.shape.d_v);
        } else {
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                score_tile(begin, keys, cover);
                fold_.add_to_delta(at(begin), keys);
            });
            scored_ = keeps_;
        }
        if (gradients_.dlse.data != nullptr) fold_.add_lse_gradient(gradients_.dlse);
        fold_.add_row_gradients(parameters_.normalizer);
    }

    /// The final scores of keys of a tile, and a range of lanes.
    void final_scores(Index tile, Index begin, Index keys, Cover cover, const LaneRange& range) {
        RowOperand<T> k = key_operand(begin, keys);
        scores_.score(k, begin, keys, cover, z_.p + at(tile, begin),
                      {.lanes = range, .raw = modifies(attention_.modifiers) ? z_.raw + at(tile, begin) : nullptr});
    }
    /// Those, and the gradients of their weights.
    ATTEND_NOINLINE void score_part(Index tile, Index begin, Index keys, Cover cover, const LaneRange& range) {
        final_scores(tile, begin, keys, cover, range);
        T* const ds = z_.ds + at(tile, begin);
        scores_.engine().multiply(value_operand(begin, keys), keys, rows_.problem.shape.d_v, dout_, rows_.lanes, range,
                                  ds);
        if (gradients_.dweights.data != nullptr) [[unlikely]]
            add_weight_gradients(begin, keys);
        rows_.drop(begin, keys, ds, {1, rows_.lanes}, range);
    }
    void score_tile(Index begin, Index keys, Cover cover) { score_part(begin, begin, keys, cover, rows_.all()); }
    /// Adds the gradients of a tile's weights that the loss reads itself.
    void add_weight_gradients(Index begin, Index keys) const {
        for (Index h = 0; h < rows_.block.heads; ++h) {
            const auto given = rows_.of(gradients_.dweights, h);
            for (Index i = 0; i < rows_.block.rows; ++i) {
                T* const to = z_.ds + at(begin) + h * rows_.block.rows + i;
                for (Index j = 0; j < keys; ++j) to[j * rows_.lanes] += given(i, begin + j);
            }
        }
    }

    void weigh_pairs(Index tile, Index begin, Index keys, const LaneRange& range) const {
        auto* const gradient = parameters_.normalizer;
        const auto zero = simd::broadcast(T(0));
        for (Index j = 0; j < keys; ++j) {
            const Index key = at(tile, begin) + j * rows_.lanes;
            T *const s = z_.p + key, *const ds = z_.ds + key;
            rows_.for_each_packet(begin + j, range, [&](Index lane, const LanePosition<T>& p) {
                const Index count = p.query.count;
                const auto scores = simd::load(s + lane, count, -infinity);
                auto weights = attention_.normalizer.weight(Lanes<T>::of(scores), p.head);
                // of lanes behind the queries, and of pairs that are masked
                weights.packet = simd::select_equal(scores, simd::broadcast(-infinity), zero, weights.packet);
                auto dp = Lanes<T>::of(simd::load(ds + lane, count, T(0)));
                dp.packet = simd::select_equal(weights.packet, zero, zero, dp.packet);
                simd::store<T>(s + lane, weights.packet, count);
                simd::store<T>(ds + lane, attention_.normalizer.weight_backward(weights, dp, p.head, gradient).packet,
                               count);
            });
        }
    }

    /// Whole rows of scores into weights, and of their gradients into those of the scores.
    void normalize_rows() const {
        const LaneBlock& block = rows_.block;
        const Index n = block.key_end, lanes = rows_.lanes;
        const auto size = static_cast<std::size_t>(n);
        auto* const gradient = parameters_.normalizer;
        for (Index lane = 0; lane < block.count(); ++lane) {
            for (Index j = 0; j < n; ++j) {
                z_.row[j] = z_.p[j * lanes + lane];
                z_.drow[j] = z_.row[j] == -infinity ? T(0) : z_.ds[j * lanes + lane];
            }
            const RowPosition where = rows_.problem.row_position(block.sequence, block.head + lane / block.rows,
                                                                 block.row + lane % block.rows);
            const T lse = attention_.normalizer.normalize(std::span<T>(z_.row, size), where);
            attention_.normalizer.backward(std::span<const T>(z_.row, size), std::span<T>(z_.drow, size), lse, where,
                                           gradient);
            for (Index j = 0; j < n; ++j) {
                z_.p[j * lanes + lane] = z_.row[j];
                z_.ds[j * lanes + lane] = z_.drow[j];
            }
        }
    }

    const A& attention_;
    const Gradients<T, X>& gradients_;
    ParameterGradients<A> parameters_;
    const BlockRows<T, X>& rows_;
    Scores& scores_;
    const BackwardScratch<T>& z_;
    const Head& keys_;
    FoldGradients<T, X, FoldOf<N>> fold_;
    LaneOperand<T> dout_{};
    bool keeps_;           ///< tiles stand beside each other
    bool scored_ = false;  ///< and hold scores and the gradients of their weights already
};

}  // namespace attend::detail::fused

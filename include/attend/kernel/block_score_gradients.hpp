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
template <class T, class A, class X, class Head>
class BlockScoreGradients {
public:
    using Scores = BlockScores<T, A, X>;
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
          fold_(fold_of<N>(attention.normalizer), rows, scratch) {}

    /// Calls `f(begin, keys, cover, p, ds)` for the tiles of keys that the mask does not hide: with the weights after
    /// dropout and the gradients of the products that became scores, key after key. Adds the gradients of the modifiers
    /// and of the normalizer.
    template <class F>
    void for_each_tile(F&& f) {
        const auto finish = [&](Index begin, Index keys, Cover cover) {
            clear_idle_lanes(begin, keys);
            if constexpr (modifies) {
                auto* const gradient = parameters_.wanted() ? &parameters_.modifiers->each : nullptr;
                modifiers_backward(attention_.modifiers.each, rows_, {begin, keys}, z_.raw + at(begin),
                                   z_.ds + at(begin), z_.kept, gradient);
            }
            rows_.drop(begin, keys, z_.p + at(begin), {1, rows_.lanes});
            f(begin, keys, cover, z_.p + at(begin), z_.ds + at(begin));
        };
        if constexpr (RowNormalizer<N>) {
            std::fill(z_.p, z_.p + rows_.block.key_end * rows_.lanes, -infinity);
            std::fill(z_.ds, z_.ds + rows_.block.key_end * rows_.lanes, T(0));
            visible_tiles([&](Index begin, Index keys, Cover cover) { score_tile(begin, keys, cover); });
            normalize_rows();
            visible_tiles(finish);
        } else {
            if constexpr (Fold<N>) load_rows();
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                score_tile(begin, keys, cover);
                if constexpr (Fold<N>) {
                    fold_.backward(keys, parameters_.normalizer);
                } else {
                    weigh_pairs(begin, keys);
                }
                finish(begin, keys, cover);
            });
        }
    }

    /// The features of a tile of keys.
    StridedMatrix<T> keys_of_tile(Index begin, Index keys) const {
        return keys_.keys(begin, keys, z_.scores.k, Reading::often);
    }

private:
    static constexpr T infinity = std::numeric_limits<T>::infinity();
    static constexpr bool modifies = A::ModifierChain::count > 0;

    /// Where a tile of scores stands in `z_`.
    Index at(Index begin) const { return RowNormalizer<N> ? begin * rows_.lanes : 0; }

    template <class F>
    void visible_tiles(F&& f) const {
        walk<T>(
            AtTheirIndex(), 0, rows_.block.key_end, [&](auto&& each) { each(scores_); },
            [&](const auto&, const KeyTile<T>& tile, Cover cover) {
                if (cover != Cover::none) f(tile.begin, tile.keys, cover);
            });
    }

    /// Lanes without a query made weights of whatever a formula makes of features that are 0, but must not give any.
    void clear_idle_lanes(Index begin, Index keys) const {
        const Index idle = rows_.lanes - rows_.block.count();
        if (idle == 0) return;
        for (Index j = 0; j < keys; ++j) {
            const Index first = at(begin) + j * rows_.lanes + rows_.block.count();
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
                final_scores(begin, keys, cover);
                fold_.see(z_.p + at(begin), keys);
            });
            fold_.end_seeing();
        }
        // Of weights that the loss reads itself, and of an output rounded to 16 bits, which is too rough, δ is that of
        // a walk of its own.
        if (std::is_same_v<T, X> && gradients_.dweights.data == nullptr) {
            fold_.delta_of_output(gradients_.out, rows_.problem.shape.d_v);
        } else {
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                score_tile(begin, keys, cover);
                fold_.add_to_delta(keys);
            });
        }
        if (gradients_.dlse.data != nullptr) fold_.add_lse_gradient(gradients_.dlse);
        fold_.add_row_gradients(parameters_.normalizer);
    }

    /// The final scores of a tile.
    void final_scores(Index begin, Index keys, Cover cover) {
        RowOperand<T> k{keys_of_tile(begin, keys)};
        scores_.score(k, begin, keys, cover, z_.p + at(begin), {.raw = modifies ? z_.raw + at(begin) : nullptr});
    }
    /// Those, and the gradients of their weights.
    ATTEND_NOINLINE void score_tile(Index begin, Index keys, Cover cover) {
        final_scores(begin, keys, cover);
        const StridedMatrix<T> v = keys_.values(begin, keys, z_.v, Reading::once);
        scores_.engine().engine.multiply(v, keys, rows_.problem.shape.d_v, z_.dout, rows_.lanes, z_.ds + at(begin),
                                         ProductOptions<T>());
        if (gradients_.dweights.data != nullptr) [[unlikely]]
            add_weight_gradients(begin, keys);
        rows_.drop(begin, keys, z_.ds + at(begin), {1, rows_.lanes});
    }
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

    void weigh_pairs(Index begin, Index keys) const {
        auto* const gradient = parameters_.normalizer;
        const auto zero = simd::broadcast(T(0));
        for (Index j = 0; j < keys; ++j) {
            T *const s = z_.p + j * rows_.lanes, *const ds = z_.ds + j * rows_.lanes;
            rows_.for_each_packet(begin + j, [&](Index lane, const LanePosition<T>& p) {
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
};

}  // namespace attend::detail::fused

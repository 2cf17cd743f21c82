#pragma once
/// \file
/// The weights of one block of queries, formed again tile by tile from the LSE, and the gradients of its scores.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include <attend/kernel/backward_scratch.hpp>
#include <attend/kernel/block_scores.hpp>
#include <attend/kernel/modifier_gradients.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The LSE and δ of each lane of a block, and the weights that they make of scores: what does not depend on the
/// attention.
template <class T, class X>
class LaneSums {
public:
    LaneSums(const BlockRows<T, X>& rows, const BackwardScratch<T>& scratch) : rows_(rows), z_(scratch) {}

    /// Whether some LSE has lost too much to its rounding, so that the weights are formed from their own sum.
    bool rescales() const { return rescales_; }

    void load(const StridedView<const T>& lses) {
        std::fill_n(z_.lse, rows_.lanes, most);  // e^{s − lse} = 0 for lanes without a query and rows without a key
        std::fill_n(z_.delta, rows_.lanes, T(0));
        for (Index h = 0; h < rows_.block.heads; ++h) {
            const auto lse = rows_.of(lses, h);
            for (Index i = 0; i < rows_.block.rows; ++i) {
                if (lse(i, 0) == -std::numeric_limits<T>::infinity()) continue;
                z_.lse[h * rows_.block.rows + i] = std::min(lse(i, 0), most);
                rescales_ = rescales_ || std::abs(lse(i, 0)) > precise_lse;
            }
        }
    }

    /// Of a row whose scores are all large the LSE, as it is a number of T, has lost of log Σ e^s what its rounding
    /// took: where a mask of −1e9 stands on all keys, everything. So its weights are formed from its scores alone, as
    /// forward did: `lse` becomes the largest score and `share` the reciprocal of the sum. Of several infinite scores
    /// each has its share of the weight, since the largest finite number, which stands for them, less itself is 0.
    void start_sums() const {
        std::fill_n(z_.top, rows_.lanes, std::numeric_limits<T>::lowest());
        std::fill_n(z_.share, rows_.lanes, T(0));
    }
    ATTEND_NOINLINE void add_to_sums(const T* s, Index keys) const {
        for (Index i = 0; i < rows_.lanes; i += w) {
            const auto score = [&](Index j) {
                return simd::min(simd::load(s + j * rows_.lanes + i), simd::broadcast(most));
            };
            const auto before = simd::load(z_.top + i);
            auto top = before;
            for (Index j = 0; j < keys; ++j) top = simd::max(top, score(j));
            auto sum = simd::mul(simd::load(z_.share + i), exp_of_nonpositive<T>(simd::sub(before, top)));
            for (Index j = 0; j < keys; ++j) sum = simd::add(sum, exp_of_nonpositive<T>(simd::sub(score(j), top)));
            simd::store(z_.top + i, top);
            simd::store(z_.share + i, sum);
        }
    }
    /// Sets `lse` and `share` of a lane; `logit` is a sink's, or none.
    ATTEND_NOINLINE void end_sum(Index i, const T* logit) const {
        constexpr T roundings = T(4) * std::numeric_limits<T>::epsilon();
        T top = z_.top[i], sum = z_.share[i];
        const T lse = z_.lse[i];
        if (logit != nullptr) {
            const T scores = top;
            top = std::max(top, *logit);
            sum = sum * std::exp(scores - top) + std::exp(*logit - top);
        }
        // A sum that is smaller by more than the LSE's rounding is that of some of the row's keys, whose LSE is the
        // whole row's; an LSE that is not large is as good, and what a row's bits are must not depend on those beside
        // it.
        const bool whole = top + std::log(sum) >= lse - roundings * std::abs(lse);
        const bool rescaled = whole && std::abs(lse) > precise_lse;
        z_.lse[i] = rescaled ? top : lse;
        z_.share[i] = rescaled ? T(1) / sum : T(1);
    }

    /// δ = Σ_j p_j dp_j, which is Σ_a dout_a out_a. Summed as the products dp are, so that a lone key's dp less δ is 0.
    ATTEND_NOINLINE void delta_of_output(const StridedView<const X>& outs, Index d_v) const {
        for (Index h = 0; h < rows_.block.heads; ++h) {
            StridedBlock<T>(z_.out_rows + h * rows_.block.rows * d_v, rows_.block.rows, d_v,
                            Eigen::OuterStride<>(d_v)) = rows_.of(outs, h).template cast<T>();
        }
        rows_to_lanes(z_.out_rows, d_v, rows_.block.count(), d_v, T(1), z_.out, rows_.lanes);
        for (Index i = 0; i < rows_.lanes; i += w) {
            auto sum = simd::broadcast(T(0));
            for (Index a = 0; a < d_v; ++a)
                sum = simd::madd(simd::load(z_.out + a * rows_.lanes + i), simd::load(z_.dout + a * rows_.lanes + i),
                                 sum);
            simd::store(z_.delta + i, sum);
        }
    }
    /// The same from the scores of a tile, in `p`, and the gradients of their weights, in `ds`.
    ATTEND_NOINLINE void add_to_delta(Index keys) const {
        for (Index i = 0; i < rows_.lanes; i += w) {
            auto sum = simd::load(z_.delta + i);
            for (Index j = 0; j < keys; ++j) sum = simd::add(sum, weigh(j * rows_.lanes + i, i, simd::broadcast(T(0))));
            simd::store(z_.delta + i, sum);
        }
    }
    /// p = e^{s − lse} and ds = p (dp − δ) of a tile. A weight of 0 gives nothing, whatever its dp.
    ATTEND_NOINLINE void weigh(Index keys) const {
        for (Index i = 0; i < rows_.lanes; i += w) {
            const auto delta = simd::load(z_.delta + i);
            for (Index j = 0; j < keys; ++j)
                simd::store(z_.ds + j * rows_.lanes + i, weigh(j * rows_.lanes + i, i, delta));
        }
    }

    /// −Σ p δ of the sinks of rows from `first` on: p = e^{logit − lse}, and their dp is 0, as they have no value.
    double logit_gradient(double logit, Index first) const {
        double dlogit = 0;
        for (Index i = first; i < first + rows_.block.rows; ++i) {
            if (z_.delta[i] == T(0)) continue;
            const double share = rescales_ ? static_cast<double>(z_.share[i]) : 1;
            dlogit -= share * std::exp(logit - static_cast<double>(z_.lse[i])) * static_cast<double>(z_.delta[i]);
        }
        return dlogit;
    }

private:
    static constexpr Index w = simd::width<T>;
    static constexpr T most = std::numeric_limits<T>::max();
    /// Smaller weights count as 0, since their products with gradients would soon be denormal.
    static constexpr T least = ExpConstants<T>::least_factor;
    /// Beyond it, the rounding of an LSE is felt: it would move all weights of a row by more than eight of theirs.
    static constexpr T precise_lse = 16;

    /// Of one packet: leaves p and returns ds.
    ATTEND_ALWAYS_INLINE simd::Packet<T> weigh(Index at, Index lane, const simd::Packet<T>& delta) const {
        const auto zero = simd::broadcast(T(0));
        auto p = simd::load(z_.p + at);
        if (rescales_) [[unlikely]] {
            p = simd::mul(weight(p, lane), simd::load(z_.share + lane));
        } else {
            p = exp_of_nonpositive<T>(simd::sub(p, simd::load(z_.lse + lane)), least);
        }
        simd::store(z_.p + at, p);
        return simd::select_equal(p, zero, zero, simd::mul(p, simd::sub(simd::load(z_.ds + at), delta)));
    }
    /// e^{s − lse} of scores that may be infinite.
    ATTEND_ALWAYS_INLINE simd::Packet<T> weight(const simd::Packet<T>& s, Index lane) const {
        return exp_of_nonpositive<T>(simd::sub(simd::min(s, simd::broadcast(most)), simd::load(z_.lse + lane)), least);
    }

    const BlockRows<T, X>& rows_;
    const BackwardScratch<T>& z_;
    bool rescales_ = false;
};

/// One block of lanes, whose gradient of the output stands in lanes in the scratch.
template <class T, class A, class X>
class BlockScoreGradients {
public:
    using Scores = BlockScores<T, A, X>;
    using N = typename A::NormalizerFunctor;

    BlockScoreGradients(const A& attention, const Gradients<T, A, X>& gradients, const BlockRows<T, X>& rows,
                        Scores& scores, const BackwardScratch<T>& scratch)
        : attention_(attention),
          gradients_(gradients),
          rows_(rows),
          scores_(scores),
          z_(scratch),
          v_(rows.problem.key_slice(rows.problem.v, rows.block.sequence, rows.block.kv_head)),
          sums_(rows, scratch) {}

    /// Calls `f(begin, keys, cover, p, ds)` for the tiles of keys that the mask does not hide: with the weights after
    /// dropout and the gradients of the products that became scores, key after key. Adds the gradients of the modifiers
    /// and of the normalizer.
    template <class F>
    void for_each_tile(F&& f) {
        const auto finish = [&](Index begin, Index keys, Cover cover) {
            clear_idle_lanes(begin, keys);
            if constexpr (modifies) {
                auto* const gradient =
                    gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->modifiers.each;
                modifiers_backward(attention_.modifiers.each, rows_, {begin, keys}, z_.raw + at(begin),
                                   z_.ds + at(begin), z_.kept, gradient);
            }
            rows_.drop(begin, keys, z_.p + at(begin), rows_.lanes);
            f(begin, keys, cover, z_.p + at(begin), z_.ds + at(begin));
        };
        if constexpr (RowNormalizer<N>) {
            std::fill(z_.p, z_.p + rows_.block.key_end * rows_.lanes, -infinity);
            std::fill(z_.ds, z_.ds + rows_.block.key_end * rows_.lanes, T(0));
            visible_tiles([&](Index begin, Index keys, Cover cover) { score_tile(begin, keys, cover); });
            normalize_rows();
            visible_tiles(finish);
        } else {
            if constexpr (OnlineNormalizer<N>) load_sums();
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                score_tile(begin, keys, cover);
                if constexpr (OnlineNormalizer<N>) {
                    sums_.weigh(keys);
                } else {
                    weigh_pairs(begin, keys);
                }
                finish(begin, keys, cover);
            });
        }
    }

    /// The features of a tile of keys.
    BroadcastMatrix<T> keys_of_tile(Index begin, Index keys) const {
        return readable<T>(scores_.keys().middleRows(begin, keys), z_.scores.k, Reading::often);
    }

private:
    static constexpr T infinity = std::numeric_limits<T>::infinity();
    static constexpr bool modifies = A::ModifierChain::count > 0;

    /// Where a tile of scores stands in `z_`.
    Index at(Index begin) const { return RowNormalizer<N> ? begin * rows_.lanes : 0; }

    template <class F>
    void visible_tiles(F&& f) const {
        for (Index begin = 0; begin < rows_.block.key_end; begin += key_block) {
            const Index keys = std::min(key_block, rows_.block.key_end - begin);
            const Cover cover = scores_.cover_of_tile(begin, keys);
            if (cover != Cover::none) f(begin, keys, cover);
        }
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

    /// The LSE and δ of each lane, and the gradients of sinks.
    void load_sums() {
        const LaneBlock& block = rows_.block;
        sums_.load(gradients_.lse);
        if (sums_.rescales()) [[unlikely]] {
            sums_.start_sums();
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                final_scores(begin, keys, cover);
                sums_.add_to_sums(z_.p + at(begin), keys);
            });
            for (Index i = 0; i < block.count(); ++i) {
                if constexpr (requires { attention_.normalizer.logit(i); }) {
                    const T logit = static_cast<T>(attention_.normalizer.logit(block.head + i / block.rows));
                    sums_.end_sum(i, &logit);
                } else {
                    sums_.end_sum(i, nullptr);
                }
            }
        }
        if constexpr (std::is_same_v<T, X>) {
            sums_.delta_of_output(gradients_.out, v_.cols());
        } else {  // an output rounded to 16 bits is too rough
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                score_tile(begin, keys, cover);
                sums_.add_to_delta(keys);
            });
        }
        for (Index h = 0; h < block.heads; ++h) add_logit_gradients(block.head + h, h * block.rows);
    }
    void add_logit_gradients([[maybe_unused]] Index head, [[maybe_unused]] Index first) const {
        if constexpr (requires { attention_.normalizer.logit(head); }) {
            if (gradients_.parameters == nullptr) return;
            const double dlogit = sums_.logit_gradient(attention_.normalizer.logit(head), first);
            attention_.normalizer.add_logit_gradient(head, dlogit, gradients_.parameters->normalizer);
        }
    }

    /// The final scores of a tile.
    void final_scores(Index begin, Index keys, Cover cover) {
        T* const s = z_.p + at(begin);
        RowOperand<T> k{keys_of_tile(begin, keys)};
        scores_.products(k, keys, s);
        if constexpr (modifies) std::copy(s, s + keys * rows_.lanes, z_.raw + at(begin));
        scores_.finish(begin, keys, cover, s, [](const T*) {});
    }
    /// Those, and the gradients of their weights.
    ATTEND_NOINLINE void score_tile(Index begin, Index keys, Cover cover) {
        final_scores(begin, keys, cover);
        const auto v = readable<T>(v_.middleRows(begin, keys), z_.v, Reading::once);
        multiply(v, keys, v_.cols(), z_.dout, rows_.lanes, z_.ds + at(begin));
        rows_.drop(begin, keys, z_.ds + at(begin), rows_.lanes);
    }

    void weigh_pairs(Index begin, Index keys) const {
        auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->normalizer;
        const auto zero = simd::broadcast(T(0));
        for (Index j = 0; j < keys; ++j) {
            T *const s = z_.p + j * rows_.lanes, *const ds = z_.ds + j * rows_.lanes;
            rows_.for_each_packet(begin + j, [&](Index lane, const Position& p, Index count) {
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
        auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->normalizer;
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
    const Gradients<T, A, X>& gradients_;
    const BlockRows<T, X>& rows_;
    Scores& scores_;
    const BackwardScratch<T>& z_;
    Slice<const X> v_;
    LaneSums<T, X> sums_;
};

}  // namespace attend::detail::fused

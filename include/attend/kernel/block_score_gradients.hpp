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

/// One block of lanes, whose gradient of the output stands in lanes in the scratch.
template <class T, class A, class X>
class BlockScoreGradients {
public:
    using Scores = BlockScores<T, A, X>;
    using N = typename A::NormalizerFunctor;
    static constexpr bool whole_rows = RowNormalizer<N>;

    BlockScoreGradients(const A& attention, const Problem<X>& problem, const Gradients<T, A, X>& gradients,
                        const LaneBlock& block, Scores& scores, Index width, const BackwardScratch<T>& scratch)
        : attention_(attention),
          problem_(problem),
          gradients_(gradients),
          block_(block),
          scores_(scores),
          lanes_(scores.lanes()),
          width_(width),
          z_(scratch),
          v_(problem.key_slice(problem.v, block.sequence, block.kv_head)) {}

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
                modifiers_backward(attention_.modifiers.each, scores_, {begin, keys}, z_.raw + at(begin),
                                   z_.ds + at(begin), z_.kept, gradient);
            }
            scores_.drop(begin, keys, z_.p + at(begin));
            f(begin, keys, cover, z_.p + at(begin), z_.ds + at(begin));
        };
        if constexpr (whole_rows) {
            std::fill(z_.p, z_.p + block_.key_end * lanes_, -infinity);
            std::fill(z_.ds, z_.ds + block_.key_end * lanes_, T(0));
            visible_tiles([&](Index begin, Index keys, Cover cover) { score_tile(begin, keys, cover); });
            normalize_rows();
            visible_tiles(finish);
        } else {
            if constexpr (OnlineNormalizer<N>) load_sums();
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                score_tile(begin, keys, cover);
                if constexpr (OnlineNormalizer<N>) {
                    weigh(keys);
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
    static constexpr Index w = simd::width<T>;
    static constexpr T infinity = std::numeric_limits<T>::infinity(), most = std::numeric_limits<T>::max();
    /// Smaller weights count as 0, since their products with gradients would soon be denormal.
    static constexpr T least = ExpConstants<T>::least_factor;
    /// Beyond it, the rounding of an LSE is felt: it would move all weights of a row by more than eight of theirs.
    static constexpr T precise_lse = 16;
    static constexpr bool modifies = A::ModifierChain::count > 0;

    /// Where a tile of scores stands in `z_`.
    Index at(Index begin) const { return whole_rows ? begin * lanes_ : 0; }

    template <class F>
    void visible_tiles(F&& f) const {
        for (Index begin = 0; begin < block_.key_end; begin += key_block) {
            const Index keys = std::min(key_block, block_.key_end - begin);
            const Cover cover = scores_.cover_of_tile(begin, keys);
            if (cover != Cover::none) f(begin, keys, cover);
        }
    }

    /// Lanes without a query made weights of whatever a formula makes of features that are 0, but must not give any.
    void clear_idle_lanes(Index begin, Index keys) const {
        const Index idle = lanes_ - block_.count();
        if (idle == 0) return;
        for (Index j = 0; j < keys; ++j) {
            const Index first = at(begin) + j * lanes_ + block_.count();
            std::fill_n(z_.p + first, idle, T(0));
            std::fill_n(z_.ds + first, idle, T(0));
        }
    }

    /// The LSE and δ of each lane.
    void load_sums() {
        std::fill(z_.lse, z_.lse + lanes_, most);  // e^{s − lse} = 0 for lanes without a query and rows without a key
        std::fill(z_.delta, z_.delta + lanes_, T(0));
        for (Index h = 0; h < block_.heads; ++h) {
            const auto lse = rows_of(problem_, gradients_.lse, block_, h);
            for (Index i = 0; i < block_.rows; ++i) {
                if (lse(i, 0) == -infinity) continue;
                z_.lse[h * block_.rows + i] = std::min(lse(i, 0), most);
                rescales_ = rescales_ || std::abs(lse(i, 0)) > precise_lse;
            }
        }
        if (rescales_) [[unlikely]]
            sum_weights();
        load_delta();
        for (Index h = 0; h < block_.heads; ++h) add_logit_gradients(block_.head + h, h * block_.rows);
    }
    /// Of a row whose scores are all large the LSE, as it is a number of T, has lost of log Σ e^s what its rounding
    /// took: where a mask of −1e9 stands on all keys, everything. So its weights are formed from its scores alone, as
    /// forward did: `lse` becomes the largest score and `share` the reciprocal of the sum. Of several infinite scores
    /// each has its share of the weight, since the largest finite number, which stands for them, less itself is 0.
    void sum_weights() {
        std::fill_n(z_.top, lanes_, std::numeric_limits<T>::lowest());
        std::fill_n(z_.share, lanes_, T(0));
        visible_tiles([&](Index begin, Index keys, Cover cover) {
            final_scores(begin, keys, cover);
            for (Index i = 0; i < lanes_; i += w) add_to_sums(z_.p + at(begin) + i, keys, i);
        });
        for (Index h = 0; h < block_.heads; ++h) {
            for (Index i = h * block_.rows; i < (h + 1) * block_.rows; ++i) sum_row(i, block_.head + h);
        }
    }
    void add_to_sums(const T* s, Index keys, Index lane) const {
        const auto score = [&](Index j) { return simd::min(simd::load(s + j * lanes_), simd::broadcast(most)); };
        const auto before = simd::load(z_.top + lane);
        auto top = before;
        for (Index j = 0; j < keys; ++j) top = simd::max(top, score(j));
        auto sum = simd::mul(simd::load(z_.share + lane), exp_of_nonpositive<T>(simd::sub(before, top)));
        for (Index j = 0; j < keys; ++j) sum = simd::add(sum, exp_of_nonpositive<T>(simd::sub(score(j), top)));
        simd::store(z_.top + lane, top);
        simd::store(z_.share + lane, sum);
    }
    /// Sets `lse` and `share` of a lane.
    void sum_row(Index i, [[maybe_unused]] Index head) const {
        constexpr T roundings = T(4) * std::numeric_limits<T>::epsilon();
        T top = z_.top[i], sum = z_.share[i];
        const T lse = z_.lse[i];
        if constexpr (requires { attention_.normalizer.logit(head); }) {
            const T logit = static_cast<T>(attention_.normalizer.logit(head)), scores = top;
            top = std::max(top, logit);
            sum = sum * std::exp(scores - top) + std::exp(logit - top);
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
    void load_delta() {
        if constexpr (std::is_same_v<T, X>) {
            for (Index h = 0; h < block_.heads; ++h) {
                const auto out = rows_of(problem_, gradients_.out, block_, h);
                StridedBlock<T>(z_.out_rows + h * block_.rows * v_.cols(), block_.rows, v_.cols(),
                                Eigen::OuterStride<>(v_.cols())) = out;
            }
            rows_to_lanes(z_.out_rows, v_.cols(), block_.count(), v_.cols(), T(1), z_.out, lanes_);
            for (Index i = 0; i < lanes_; i += w) {
                auto sum = simd::broadcast(T(0));
                for (Index a = 0; a < v_.cols(); ++a)
                    sum = simd::madd(simd::load(z_.out + a * lanes_ + i), simd::load(z_.dout + a * lanes_ + i), sum);
                simd::store(z_.delta + i, sum);
            }
        } else {  // an output rounded to 16 bits is too rough
            visible_tiles([&](Index begin, Index keys, Cover cover) {
                score_tile(begin, keys, cover);
                for (Index i = 0; i < lanes_; i += w) {
                    auto sum = simd::load(z_.delta + i);
                    for (Index j = 0; j < keys; ++j)
                        sum = simd::add(sum, weigh(j * lanes_ + i, i, simd::broadcast(T(0))));
                    simd::store(z_.delta + i, sum);
                }
            });
        }
        for (Index h = 0; h < block_.heads; ++h) {
            const auto lse = rows_of(problem_, gradients_.lse, block_, h);
            for (Index i = 0; i < block_.rows; ++i) {
                if (lse(i, 0) == -infinity) z_.delta[h * block_.rows + i] = T(0);  // nothing seen
            }
        }
    }
    /// The sink's weight is e^{logit − lse}; its dp is 0, as it has no value.
    void add_logit_gradients([[maybe_unused]] Index head, [[maybe_unused]] Index first) const {
        if constexpr (requires { attention_.normalizer.logit(head); }) {
            if (gradients_.parameters == nullptr) return;
            const double logit = attention_.normalizer.logit(head);
            double dlogit = 0;
            for (Index i = first; i < first + block_.rows; ++i) {
                if (z_.delta[i] == T(0)) continue;
                const double share = rescales_ ? static_cast<double>(z_.share[i]) : 1;
                dlogit -= share * std::exp(logit - static_cast<double>(z_.lse[i])) * static_cast<double>(z_.delta[i]);
            }
            attention_.normalizer.add_logit_gradient(head, dlogit, gradients_.parameters->normalizer);
        } else {
            static_assert(!HasLogit<typename A::NormalizerFunctor>,
                          "attend: this normalizer has a logit that does not fit: it needs double logit(Index head) "
                          "const");
            static_assert(
                !OnlineNormalizer<typename A::NormalizerFunctor> || !HasParameters<typename A::NormalizerFunctor>,
                "attend: this online normalizer has parameters, but no logit that they could act by: leave "
                "`online` out, or add double logit(Index head) const and add_logit_gradient");
        }
    }

    /// The final scores of a tile.
    void final_scores(Index begin, Index keys, Cover cover) {
        T* const s = z_.p + at(begin);
        RowOperand<T> k{keys_of_tile(begin, keys)};
        scores_.products(k, keys, s);
        if constexpr (modifies) std::copy(s, s + keys * lanes_, z_.raw + at(begin));
        scores_.finish(begin, keys, cover, s, [](const T*) {});
    }
    /// Those, and the gradients of their weights.
    void score_tile(Index begin, Index keys, Cover cover) {
        final_scores(begin, keys, cover);
        const auto v = readable<T>(v_.middleRows(begin, keys), z_.v, Reading::once);
        multiply(v, keys, v_.cols(), z_.dout, lanes_, z_.ds + at(begin));
        scores_.drop(begin, keys, z_.ds + at(begin));
    }

    /// p = e^{s − lse} and ds = p (dp − δ). A weight of 0 gives nothing, whatever its dp.
    void weigh(Index keys) const {
        for (Index i = 0; i < lanes_; i += w) {
            const auto delta = simd::load(z_.delta + i);
            for (Index j = 0; j < keys; ++j) simd::store(z_.ds + j * lanes_ + i, weigh(j * lanes_ + i, i, delta));
        }
    }
    /// The same of one packet: leaves p and returns ds.
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
    void weigh_pairs(Index begin, Index keys) const {
        auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->normalizer;
        const auto zero = simd::broadcast(T(0));
        for (Index j = 0; j < keys; ++j) {
            T *const s = z_.p + j * lanes_, *const ds = z_.ds + j * lanes_;
            scores_.for_each_packet(begin + j, [&](Index lane, const Position& p, Index count) {
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
        const Index n = block_.key_end;
        const auto size = static_cast<std::size_t>(n);
        auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->normalizer;
        for (Index lane = 0; lane < block_.count(); ++lane) {
            for (Index j = 0; j < n; ++j) {
                z_.row[j] = z_.p[j * lanes_ + lane];
                z_.drow[j] = z_.row[j] == -infinity ? T(0) : z_.ds[j * lanes_ + lane];
            }
            const RowPosition where = problem_.row_position(block_.sequence, block_.head + lane / block_.rows,
                                                            block_.row + lane % block_.rows);
            const T lse = attention_.normalizer.normalize(std::span<T>(z_.row, size), where);
            attention_.normalizer.backward(std::span<const T>(z_.row, size), std::span<T>(z_.drow, size), lse, where,
                                           gradient);
            for (Index j = 0; j < n; ++j) {
                z_.p[j * lanes_ + lane] = z_.row[j];
                z_.ds[j * lanes_ + lane] = z_.drow[j];
            }
        }
    }

    const A& attention_;
    const Problem<X>& problem_;
    const Gradients<T, A, X>& gradients_;
    const LaneBlock& block_;
    Scores& scores_;
    Index lanes_, width_;
    const BackwardScratch<T>& z_;
    Slice<const X> v_;
    bool rescales_ = false;  ///< some LSE has lost too much to its rounding
};

}  // namespace attend::detail::fused

#pragma once
/// \file
/// What backward knows of the rows of a block, their LSE and δ, and what a fold makes of scores by it: weights, and the
/// gradients of the scores.

#include <algorithm>
#include <cmath>
#include <limits>

#include <attend/core/row_lanes.hpp>
#include <attend/parts/row_states.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// What it works on.
template <class T>
struct FoldScratch {
    T* p;               ///< a tile of scores, then weights
    T* ds;              ///< a tile of the weights' gradients, then the scores'
    T* dout;            ///< d_v × lanes
    T *out, *out_rows;  ///< d_v × lanes and lanes × d_v
    T* delta;           ///< lanes: δ = Σ p dp
    StateScratch<T> rows;

    /// A tile of so many scores.
    FoldScratch(Arena& arena, Index tile, Index d_v, Index members, Index lanes)
        : p(arena.take<T>(tile)),
          ds(arena.take<T>(tile)),
          dout(arena.take<T>(d_v * lanes)),
          out(arena.take<T>(d_v * lanes)),
          out_rows(arena.take<T>(lanes * d_v)),
          delta(arena.take<T>(lanes)),
          rows(arena, members, lanes) {}
};

/// Beyond it, the rounding of an LSE is felt: it would move all weights of a row by more than eight of theirs.
template <class T>
inline constexpr T precise_lse = 16;

template <class T, class X, class F>
class FoldGradients {
public:
    FoldGradients(const F& fold, const BlockRows<T, X>& rows, const FoldScratch<T>& scratch)
        : fold_(fold), rows_(rows), states_(fold, rows.block, rows.lanes, scratch.rows), z_(scratch) {}

    /// Whether some LSE has lost too much to its rounding, so that its row must be seen once more.
    bool sees_again() const { return sees_again_; }

    void load(const StridedView<const T>& lses) {
        std::fill_n(z_.rows.lse, rows_.lanes, most);  // weights are 0 of lanes without a query and rows without a key
        std::fill_n(z_.delta, rows_.lanes, T(0));
        for (Index h = 0; h < rows_.block.heads; ++h) {
            const auto lse = rows_.of(lses, h);
            for (Index i = 0; i < rows_.block.rows; ++i) {
                if (lse(i, 0) == -std::numeric_limits<T>::infinity()) continue;
                z_.rows.lse[h * rows_.block.rows + i] = std::min(lse(i, 0), most);
                sees_again_ = sees_again_ || std::abs(lse(i, 0)) > precise_lse<T>;
            }
        }
    }

    /// Of a row whose scores are all large the LSE, as it is a number of T, has lost of log Σ e^s what its rounding
    /// took: where a mask of −1e9 stands on all keys, everything. So its weights are formed by what its fold sees in
    /// the scores, as forward did.
    void start_seeing() const { states_.start(); }
    ATTEND_NOINLINE void see(T* s, Index keys) const {
        set_lanes(z_.rows.largest, rows_.lanes, std::numeric_limits<T>::lowest());
        for (Index j = 0; j < keys; ++j) {
            for (Index i = 0; i < rows_.lanes; i += w)
                simd::store(z_.rows.largest + i,
                            simd::max(simd::load(z_.rows.largest + i), simd::load(s + j * rows_.lanes + i)));
        }
        states_.take(s, keys, rows_.all());
    }
    /// Leaves in `factor` that of the rows whose weights go by what was seen, and 0 of all others.
    ATTEND_NOINLINE void end_seeing() const {
        constexpr T roundings = T(4) * std::numeric_limits<T>::epsilon();
        set_lanes(z_.rows.factor, rows_.lanes, T(0));
        for (Index i = 0; i < rows_.block.count(); ++i) {
            const T lse = z_.rows.lse[i];
            const auto row = states_.row(i);
            // An LSE that is smaller by more than the rounding is that of some of the row's keys, whose LSE is the
            // whole row's; one that is not large is as good, and what a row's bits are must not depend on those beside
            // it.
            const bool whole = std::min(fold_.lse(row, states_.head(i)), most) >= lse - roundings * std::abs(lse);
            if (whole && std::abs(lse) > precise_lse<T>) z_.rows.factor[i] = fold_.factor(row, states_.head(i));
        }
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
    /// The same from the scores of a tile, in `p` from `at` on, and the gradients of their weights, in `ds`.
    ATTEND_NOINLINE void add_to_delta(Index at, Index keys) const {
        const auto zero = simd::broadcast(T(0));
        states_.for_each_packet([&](auto whole, Index lane, Index count, Index head) ATTEND_ALWAYS_INLINE {
            const Weights<decltype(whole)> weights(*this, whole, lane, count, head);
            Lanes<T> sum = weights.load(z_.delta);
            for (Index j = 0; j < keys; ++j) {
                const Lanes<T> p = weights(weights.load(z_.p + at + j * rows_.lanes));
                const Lanes<T> dp = weights.load(z_.ds + at + j * rows_.lanes);
                sum.packet = simd::add(sum.packet, simd::select_equal(p.packet, zero, zero, (p * dp).packet));
            }
            weights.store(sum, z_.delta);
        });
    }
    /// The LSE's derivative in a score is its weight, so its gradient goes by δ: ds = p (dp − δ + dlse).
    void add_lse_gradient(const StridedView<const T>& dlses) const {
        for (Index h = 0; h < rows_.block.heads; ++h) {
            const auto dlse = rows_.of(dlses, h);
            for (Index i = 0; i < rows_.block.rows; ++i) z_.delta[h * rows_.block.rows + i] -= dlse(i, 0);
        }
    }
    /// What the rows themselves give to the parameters of their fold.
    void add_row_gradients([[maybe_unused]] F* gradient) const {
        if constexpr (requires(T x, F& to) { fold_.row_backward(x, x, Index(0), to); }) {
            if (gradient == nullptr) return;
            for (Index i = 0; i < rows_.block.count(); ++i) {
                const Index head = states_.head(i);
                sees_again_&& z_.rows.factor[i] != T(0)
                    ? fold_.row_backward(states_.row(i), z_.delta[i], head, *gradient)
                    : fold_.row_backward(z_.rows.lse[i], z_.delta[i], head, *gradient);
            }
        }
    }

    /// Of some keys and a range of lanes, scores into weights, in `p` from `from` on, and the weights' gradients into
    /// the scores', in `ds`.
    ATTEND_NOINLINE void backward(Index from, Index keys, const LaneRange& range, F* gradient) const {
        states_.for_each_packet(range, [&](auto whole, Index lane, Index count, Index head) ATTEND_ALWAYS_INLINE {
            const Weights<decltype(whole)> weights(*this, whole, lane, count, head);
            const auto delta = weights.load(z_.delta);
            for (Index at = from; at < from + keys * rows_.lanes; at += rows_.lanes) {
                const Lanes<T> s = weights.load(z_.p + at), p = weights(s), dp = weights.load(z_.ds + at);
                weights.store(p, z_.p + at);
                weights.store(backward(s, p, dp, delta, head, gradient), z_.ds + at);
            }
        });
    }

private:
    static constexpr Index w = simd::width<T>;
    static constexpr T most = std::numeric_limits<T>::max();

    /// Makes the weights of a packet of rows.
    template <class Whole>
    class Weights {
    public:
        ATTEND_ALWAYS_INLINE Weights(const FoldGradients& rows, Whole whole, Index lane, Index count, Index head)
            : fold_(rows.fold_), lane_(lane), count_(count), head_(head), seen_(rows.sees_again_) {
            lse_ = load(rows.z_.rows.lse);
            if (!seen_) return;
            states_ = rows.states_.load(whole, lane, count);
            factor_ = load(rows.z_.rows.factor);
        }
        ATTEND_ALWAYS_INLINE Lanes<T> load(const T* from) const {
            return Lanes<T>::of(Whole::value ? simd::load(from + lane_) : simd::load(from + lane_, count_, T(0)));
        }
        ATTEND_ALWAYS_INLINE void store(const Lanes<T>& x, T* to) const {
            Whole::value ? simd::store(to + lane_, x.packet) : simd::store<T>(to + lane_, x.packet, count_);
        }
        ATTEND_ALWAYS_INLINE Lanes<T> operator()(const Lanes<T>& s) const {
            const Lanes<T> p = fold_.weight(s, lse_, head_);
            if (!seen_) [[likely]]
                return p;
            const auto zero = simd::broadcast(T(0));
            const Lanes<T> again = fold_.weight(s, states_, head_) * factor_;
            return Lanes<T>::of(simd::select_equal(factor_.packet, zero, p.packet, again.packet));
        }

    private:
        const F& fold_;
        Index lane_, count_, head_;
        bool seen_;
        Lanes<T> lse_, factor_;
        typename RowStates<T, F>::Pack states_;
    };

    /// The gradients of a packet of scores. A weight of 0 gives nothing, whatever its score and its dp.
    ATTEND_ALWAYS_INLINE Lanes<T> backward(const Lanes<T>& s, const Lanes<T>& p, const Lanes<T>& dp,
                                           const Lanes<T>& delta, Index head, F* gradient) const {
        const auto zero = simd::broadcast(T(0));
        const auto where_weighed = [&](const Lanes<T>& x, const Lanes<T>& otherwise) ATTEND_ALWAYS_INLINE {
            return Lanes<T>::of(simd::select_equal(p.packet, zero, otherwise.packet, x.packet));
        };
        if constexpr (requires { fold_.backward(s, p, dp, delta, head, gradient); }) {
            const Lanes<T> none;
            return where_weighed(
                fold_.backward(where_weighed(s, none), p, where_weighed(dp, delta), delta, head, gradient), none);
        } else {
            return where_weighed(p * (dp - delta), Lanes<T>());
        }
    }

    const F& fold_;
    const BlockRows<T, X>& rows_;
    RowStates<T, F> states_;
    const FoldScratch<T>& z_;
    bool sees_again_ = false;
};

}  // namespace attend::detail::fused

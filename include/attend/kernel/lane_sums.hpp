#pragma once
/// \file
/// The LSE and δ of each lane of a block, and the weights that they make of scores, going backward: what does not
/// depend on the attention.

#include <algorithm>
#include <cmath>
#include <limits>

#include <attend/kernel/backward_scratch.hpp>
#include <attend/kernel/lane_block.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

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
    /// The LSE's derivative in a score is its weight, so its gradient goes by δ: ds = p (dp − δ + dlse).
    void add_lse_gradient(const StridedView<const T>& dlses) const {
        for (Index h = 0; h < rows_.block.heads; ++h) {
            const auto dlse = rows_.of(dlses, h);
            for (Index i = 0; i < rows_.block.rows; ++i) z_.delta[h * rows_.block.rows + i] -= dlse(i, 0);
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

    /// −Σ p δ of the sinks of rows from `first` on: p = e^{logit − lse}, and their dp is 0, as they have no value. A
    /// weight of 0, as in an empty row, gives nothing, whatever its δ.
    double logit_gradient(double logit, Index first) const {
        double dlogit = 0;
        for (Index i = first; i < first + rows_.block.rows; ++i) {
            const double share = rescales_ ? static_cast<double>(z_.share[i]) : 1;
            const double p = share * std::exp(logit - static_cast<double>(z_.lse[i]));
            if (p != 0) dlogit -= p * static_cast<double>(z_.delta[i]);
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

}  // namespace attend::detail::fused

#pragma once
/// \file
/// The gradients of scores that are sums over features of pairs, tile by tile: feature after feature, queries in lanes.

#include <algorithm>
#include <utility>

#include <attend/parts/modifiers.hpp>
#include <attend/parts/pairs.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A score of pairs whose slopes can also be formed from exponentials of the features.
template <class S, class T>
concept ExponentialSlope =
    ExponentialScore<S, T> && requires(const S& score, Lanes<T> e, Index a, T dweight, S& gradient) {
        score.pair_of_exponentials_backward(e, e, a, e);
        score.add_weight_gradient(a, dweight, gradient);
    };

/// Adds the gradients of a score's parameters, for pairs of features whose score has the derivatives `ds`.
template <class T, class S>
void pair_backward_on_lanes([[maybe_unused]] const S& score, [[maybe_unused]] const Lanes<T>& q,
                            [[maybe_unused]] const Lanes<T>& k, [[maybe_unused]] Index a,
                            [[maybe_unused]] const Lanes<T>& ds, [[maybe_unused]] S& gradient) {
    if constexpr (requires { score.pair_backward(q, k, a, ds, gradient); }) {
        const MovingLanes<T> moving(ds);
        if (moving.any()) score.pair_backward(moving.of(q), moving.of(k), a, ds, gradient);
    } else if constexpr (requires { score.pair_backward(T(), T(), a, T(), gradient); }) {
        T q_lanes[simd::width<T>], k_lanes[simd::width<T>], ds_lanes[simd::width<T>];
        simd::store(q_lanes, q.packet);
        simd::store(k_lanes, k.packet);
        simd::store(ds_lanes, ds.packet);
        for (Index i = 0; i < simd::width<T>; ++i) {
            if (ds_lanes[i] != T(0)) score.pair_backward(q_lanes[i], k_lanes[i], a, ds_lanes[i], gradient);
        }
    } else {
        static_assert(
            !HasParameters<S>,
            "attend: this score has parameters, but no pair_backward that adds their gradients: it needs void "
            "pair_backward(auto q, auto k, Index a, auto ds, Self& gradient) const, empty where pair has none");
    }
}
/// A packet's gradients of one feature of the queries, of the key and of the score's weight.
template <class T>
struct PairSlopes {
    Lanes<T> q, k, weight;
};

/// By dual numbers. Where ds is 0 so are they, whatever the features: a masked key may hold NaN.
template <class T, class S>
PairSlopes<T> pair_slopes(const S& score, const Lanes<T>& q, const Lanes<T>& k, Index a, const Lanes<T>& ds,
                          S* gradient) {
    using Feature = Dual<Lanes<T>, 2>;
    const auto zero = simd::broadcast(T(0));
    const auto seen = [&](const Lanes<T>& x) {
        return Lanes<T>::of(simd::select_equal(ds.packet, zero, zero, x.packet));
    };
    const Feature s = score.pair(Feature::variable(q, 0), Feature::variable(k, 1), a);
    if (gradient != nullptr) pair_backward_on_lanes(score, q, k, a, ds, *gradient);
    return {seen(ds * s.partial[0]), seen(ds * s.partial[1]), {}};
}

/// The features of a tile as they are, and their exponentials, of which those that are too large are NaN.
template <class T>
struct PairTiles {
    PairTile<T> features, exponentials;
    bool all;  ///< no exponential is NaN
};

template <class T, class S>
PairSlopes<T> pair_slopes(const S& score, const PairTiles<T>& tiles, Index key, Index lane, Index a, const Lanes<T>& ds,
                          S* gradient) {
    if constexpr (ExponentialSlope<S, T>) {
        const std::pair<Lanes<T>, Lanes<T>> slopes = score.pair_of_exponentials_backward(
            tiles.exponentials.query(lane, a), tiles.exponentials.key(key, a), a, ds);
        const auto& slope = slopes.first;
        const auto& weight = slopes.second;
        if (tiles.all) return {slope, slope, weight};
        // Each pair by itself: its bits must not depend on the queries and keys beside it.
        const auto zero = simd::broadcast(T(0));
        const auto rest = Lanes<T>::of(simd::select_equal(slope.packet, slope.packet, zero, ds.packet));
        const PairSlopes<T> others =
            pair_slopes(score, tiles.features.query(lane, a), tiles.features.key(key, a), a, rest, gradient);
        const auto either = [&](const Lanes<T>& x, const Lanes<T>& other) {
            return Lanes<T>::of(simd::select_equal(slope.packet, slope.packet, x.packet, other.packet));
        };
        return {either(slope, others.q), either(slope, others.k), either(weight, {})};
    } else {
        return pair_slopes(score, tiles.features.query(lane, a), tiles.features.key(key, a), a, ds, gradient);
    }
}

/// dq (width × lanes) += Σ_keys ds ∂s/∂q and dk (keys × dk_stride) += Σ_lanes ds ∂s/∂k, for ds that is keys × lanes;
/// and the gradients of the score's own parameters.
template <class T, class S>
void add_pair_gradients(const S& score, const PairTiles<T>& tiles, Index keys, const T* ds, T* dq, T* dk,
                        Index dk_stride, S* gradient) {
    constexpr Index w = simd::width<T>;
    const Index lanes = tiles.features.lanes;
    for (Index a = 0; a < tiles.features.width; ++a, dq += lanes) {
        Lanes<T> weight;
        for (Index begin = 0; begin < keys; begin += w) {
            const Index count = std::min(w, keys - begin);
            simd::Packet<T> sums[w];
            for (Index j = 0; j < w; ++j) {
                Lanes<T> sum;
                for (Index i = 0; i < (j < count ? lanes : 0); i += w) {
                    const auto d = Lanes<T>::of(simd::load(ds + (begin + j) * lanes + i));
                    const PairSlopes<T> slopes = pair_slopes(score, tiles, begin + j, i, a, d, gradient);
                    simd::store(dq + i, simd::add(simd::load(dq + i), slopes.q.packet));
                    sum += slopes.k;
                    weight += slopes.weight;
                }
                sums[j] = sum.packet;
            }
            T of_keys[w];
            simd::store(of_keys, simd::sums_of_rows<T>(sums));
            for (Index j = 0; j < count; ++j) dk[(begin + j) * dk_stride + a] += of_keys[j];
        }
        if constexpr (ExponentialSlope<S, T>) {
            if (gradient != nullptr) score.add_weight_gradient(a, sum(weight), *gradient);
        }
    }
}

}  // namespace attend::detail

#pragma once
/// \file
/// Softmax as a fold: rows of scores met a tile of keys at a time.
///
/// Sources: Milakov and Gimelshein 2018 (the running maximum and sum); Dao et al. 2022 (the weighted output with them).

#include <cmath>
#include <limits>
#include <utility>

#include <attend/core/math.hpp>
#include <attend/core/score_tile.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

// What softmax needs of a row, T, as of the rows of a packet, Lanes<T>.
template <class P>
struct ScalarOfRows {
    using type = P;
};
template <class T>
struct ScalarOfRows<Lanes<T>> {
    using type = T;
};

/// e^x for x <= 0: see `exp_of_nonpositive`.
template <class T>
ATTEND_ALWAYS_INLINE inline Lanes<T> nonpositive_exp(const Lanes<T>& x, T least = ExpConstants<T>::least_normal) {
    return Lanes<T>::of(exp_of_nonpositive<T>(x.packet, least));
}
template <class T>
T nonpositive_exp(T x) {
    return simd::first<T>(exp_of_nonpositive<T>(simd::broadcast(x)));
}
template <class T>
ATTEND_ALWAYS_INLINE inline Lanes<T> multiply_add(const Lanes<T>& a, const Lanes<T>& b, const Lanes<T>& c) {
    return Lanes<T>::of(simd::madd(a.packet, b.packet, c.packet));
}
template <class T>
T multiply_add(T a, T b, T c) {
    return a * b + c;
}
/// Whether some row has more than `bound`.
template <class T>
ATTEND_ALWAYS_INLINE inline bool any_above(const Lanes<T>& x, T bound) {
    return simd::any<T>(simd::less(simd::broadcast(bound), x.packet));
}
template <class T>
bool any_above(T x, T bound) {
    return x > bound;
}

}  // namespace detail

/// The fold of `softmax`, and of normalizers that add to a row's sum what is no key.
struct SoftmaxFold {
    static constexpr bool heads_alike = true, packs_alike = true;

    /// The maximum so far, and the sum of weights relative to it. The maximum starts at the lowest finite number
    /// instead of −∞, so that a row which has seen no key needs no branch.
    template <class P>
    struct State {
        /// The maximum so far.
        P largest = P(std::numeric_limits<typename detail::ScalarOfRows<P>::type>::lowest());
        P sum = P(0);  ///< Σ e^{s − largest}
    };

    /// Scores into weights relative to the new maximum. ∞ − ∞ is NaN, but the largest finite number less itself is 0:
    /// what is +∞ shares all weight.
    template <class P>
    ATTEND_ALWAYS_INLINE P take(auto& scores, State<P>& row, Index) const {
        using attend::max, attend::min;
        using T = typename detail::ScalarOfRows<P>::type;
        constexpr T most = std::numeric_limits<T>::max();
        P largest = max(row.largest, scores.largest());
        if (detail::any_above(largest, most)) [[unlikely]] {
            scores.replace([](const Lanes<T>& s) { return min(s, Lanes<T>(most)); });
            largest = min(largest, P(most));
        }
        const P rescale = detail::nonpositive_exp(row.largest - largest);
        const P sum = scores.replace([m = Lanes<T>(largest)](const Lanes<T>& s)
                                         ATTEND_ALWAYS_INLINE { return detail::nonpositive_exp(s - m); });
        row.sum = detail::multiply_add(row.sum, rescale, sum);
        row.largest = largest;
        return rescale;
    }
    /// Takes in other keys. Returns what rescales the values of both.
    template <class P>
    std::pair<P, P> merge(State<P>& row, const State<P>& other, Index) const {
        using attend::max;
        const P largest = max(row.largest, other.largest), a = detail::nonpositive_exp(row.largest - largest),
                b = detail::nonpositive_exp(other.largest - largest);
        row = {largest, a * row.sum + b * other.sum};
        return {a, b};
    }
    /// By what a row's weighted values become its output; 0 of a row that has seen no key.
    template <class T>
    T factor(const State<T>& row, Index) const {
        return row.sum == T(0) ? T(0) : T(1) / row.sum;
    }
    /// log Σ e^s; −∞ of such a row.
    template <class T>
    T lse(const State<T>& row, Index) const {
        constexpr T infinity = std::numeric_limits<T>::infinity(), most = std::numeric_limits<T>::max();
        if (row.sum == T(0)) return -infinity;
        return row.largest == most ? infinity : row.largest + std::log(row.sum);
    }

    /// The weight of a score, given its row's LSE: exactly 0 where its products with gradients would soon be denormal.
    template <class T>
    ATTEND_ALWAYS_INLINE Lanes<T> weight(const Lanes<T>& s, const Lanes<T>& lse, Index) const {
        return detail::nonpositive_exp(s - lse, detail::ExpConstants<T>::least_factor);
    }
    /// The same given all that its row has seen, but for the row's factor.
    template <class T>
    ATTEND_ALWAYS_INLINE Lanes<T> weight(const Lanes<T>& s, const State<Lanes<T>>& row, Index) const {
        using attend::min;
        return detail::nonpositive_exp(min(s, Lanes<T>(std::numeric_limits<T>::max())) - row.largest);
    }
};

}  // namespace attend

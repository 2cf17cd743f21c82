#pragma once
/// \file
/// Attentions, ready-made and composed: `score >> modifiers >> mask >> normalizer`.

#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include <attend/attention_calls.hpp>
#include <attend/score/additive.hpp>
#include <attend/score/cosine.hpp>
#include <attend/score/dot.hpp>
#include <attend/score/general.hpp>
#include <attend/score/lambda.hpp>
#include <attend/score/location.hpp>
#include <attend/score/rms_norm.hpp>
#include <attend/score/scaled_dot.hpp>

namespace attend::inline ATTEND_ABI {

/// An attention by `S` alone: no modifier, no mask, softmax.
template <Score S>
using Plain = Attention<S, Modifiers<>, Everything, DefaultSoftmax>;
/// Of a score: `Attention(DotScore{})`.
template <Score S>
Attention(S) -> Attention<S, Modifiers<>, Everything, DefaultSoftmax>;

/// softmax(Q Kᵀ) V (Luong et al. 2015).
using DotProductAttention = Plain<DotScore>;
/// softmax(scale · Q Kᵀ) V, scale 1/√d_k unless one is given (Vaswani et al. 2017).
using ScaledDotProductAttention = Plain<ScaledDotScore>;
/// softmax(scale · cos(q, k)) V.
using CosineAttention = Plain<CosineScore>;
/// softmax(Q W Kᵀ) V (Luong et al. 2015): `GeneralAttention<float>(d_q, d_k, seed)`.
template <class T>
using GeneralAttention = Plain<GeneralScore<T>>;
/// Scores vᵀ tanh(Wqᵀ q + Wkᵀ k + b) (Bahdanau et al. 2014): `AdditiveAttention<float>(d_q, d_k, hidden, seed)`.
template <class T>
using AdditiveAttention = Plain<AdditiveScore<T>>;
/// Scores of queries and keys that are normed by their root mean squares: `RmsNormAttention<float>(d_k)`.
template <class T>
using RmsNormAttention = Plain<RmsNormScore<T>>;
/// Additive scores that know how much each key has been looked at (Chorowski et al. 2015): location_decoder.hpp.
template <class T>
using LocationSensitiveAttention = Plain<LocationScore<T>>;

/// softmax(Q Kᵀ) V (Luong et al. 2015).
inline constexpr DotProductAttention dot_product{};
/// softmax(Q Kᵀ / √d_k) V (Vaswani et al. 2017); `ScaledDotProductAttention(scale)` for another scale.
inline constexpr ScaledDotProductAttention scaled_dot_product{};
/// softmax(scale · cos(q, k)) V; the scale trains.
constexpr CosineAttention cosine(double scale) { return CosineAttention(scale); }
/// Additive attention whose decoder knows how much each key has been looked at (See et al. 2017): location_decoder.hpp.
template <class T>
LocationSensitiveAttention<T> coverage_attention(Index d_q, Index d_k, Index hidden, std::uint64_t seed) {
    return LocationSensitiveAttention<T>({.d_q = d_q, .d_k = d_k, .hidden = hidden, .history = History::sum}, seed);
}
/// softmax(Σ_a f(q_a, k_a)) V for a formula `[](auto q, auto k) { … }`.
template <class F>
Plain<LambdaScore<F>> score(F formula) {
    return Plain<LambdaScore<F>>(LambdaScore<F>{std::move(formula)});
}

namespace detail {

template <class S, class... Ms, class K, class N, class Part>
constexpr auto append_modifier(Attention<S, Modifiers<Ms...>, K, N>&& attention, Part&& part) {
    using All = Modifiers<Ms..., std::remove_cvref_t<Part>>;
    return Attention<S, All, K, N>(
        std::move(attention.score()),
        All{std::tuple_cat(std::move(attention.modifiers.each), std::tuple<std::remove_cvref_t<Part>>(part))},
        std::move(attention.mask), std::move(attention.normalizer));
}

}  // namespace detail

/// Composition: *score >> modifiers >> mask >> normalizer*, left to right, and behind them an engine, where it shall
/// not be `Fastest`. A second mask narrows the first; any other order is refused. Parts are copied, or moved out
/// of temporaries.
template <Score S, class M, Mask K, Normalizer N, class E, class Part>
constexpr auto operator>>(Attention<S, M, K, N, E> attention, Part&& part) {
    using P = std::remove_cvref_t<Part>;
    constexpr bool open = std::is_same_v<N, DefaultSoftmax>, unmasked = std::is_same_v<K, Everything>;
    constexpr bool starts = OfKind<P, Kind::score> || OfKind<P, Kind::attention>, last = std::is_same_v<E, Fastest>;
    static_assert(Functor<P>,
                  "attend: only a modifier, a mask, a normalizer or an engine can follow >>; wrap a lambda in "
                  "modifier(…) or mask(…)");
    static_assert(!starts, "attend: a score stands first: score >> modifiers >> mask >> normalizer");
    static_assert(last || !Functor<P>, "attend: an engine stands last: nothing can follow it");
    static_assert(open || starts || !last || !Functor<P> || OfKind<P, Kind::engine>,
                  "attend: a normalizer stands last: nothing but an engine can follow it");
    static_assert(!(OfKind<P, Kind::modifier> && open) || unmasked,
                  "attend: a modifier stands before the mask: behind it, it could revive masked keys");
    static_assert(!OfKind<P, Kind::mask> || Mask<P>, "attend: this mask lacks bool operator()(Position) const");
    constexpr bool half_fold = OfKind<P, Kind::normalizer> && !Fold<P> && detail::HasTake<P>;
    static_assert(!half_fold,
                  "attend: this normalizer has a take, but is no fold: it needs State<P>, take, merge, factor, lse and "
                  "weight as core/concepts.hpp says them");
    static_assert(!OfKind<P, Kind::normalizer> || Normalizer<P> || half_fold,
                  "attend: this normalizer lacks normalize(row, where) or backward(p, dp, lse, where, gradient)");
    if constexpr (!last) {
        return attention;  // refused above; so that the compiler has no more to say
    } else if constexpr (Modifier<P>) {
        return detail::append_modifier(std::move(attention), std::forward<Part>(part));
    } else if constexpr (Mask<P> && unmasked) {
        return Attention<S, M, P, N>(std::move(attention.score()), std::move(attention.modifiers),
                                     std::forward<Part>(part), std::move(attention.normalizer));
    } else if constexpr (Mask<P>) {
        return Attention<S, M, MaskAnd<K, P>, N>(std::move(attention.score()), std::move(attention.modifiers),
                                                 std::move(attention.mask) & std::forward<Part>(part),
                                                 std::move(attention.normalizer));
    } else if constexpr (Normalizer<P> && !half_fold) {
        return Attention<S, M, K, P>(std::move(attention.score()), std::move(attention.modifiers),
                                     std::move(attention.mask), std::forward<Part>(part));
    } else if constexpr (OfKind<P, Kind::engine>) {
        return Attention<S, M, K, N, P>(std::move(attention.score()), std::move(attention.modifiers),
                                        std::move(attention.mask), std::move(attention.normalizer),
                                        std::forward<Part>(part));
    } else {
        return attention;
    }
}

/// A composition may also start with a bare score.
template <Score S, class Part>
constexpr auto operator>>(S score, Part&& part) {
    return Plain<S>(std::move(score)) >> std::forward<Part>(part);
}

// What does not make sense is refused in words.
template <Functor First, class Part>
    requires(OfKind<First, Kind::modifier> || OfKind<First, Kind::mask> || OfKind<First, Kind::normalizer> ||
             OfKind<First, Kind::engine>)
constexpr void operator>>(const First&, const Part&) {
    static_assert(OfKind<First, Kind::score>, "attend: a score stands first: score >> modifiers >> mask >> normalizer");
}
template <Score S, class M, Mask K, Normalizer N, class E, class Part>
constexpr void operator&(const Attention<S, M, K, N, E>&, const Part&) {
    static_assert(!Mask<Part> && !Functor<Part>,
                  "attend: >> binds more tightly than &: put the masks in parentheses, a >> (mask & mask)");
}
template <Score S, class M, Mask K, Normalizer N, class E, class Part>
constexpr void operator|(const Attention<S, M, K, N, E>&, const Part&) {
    static_assert(!Mask<Part> && !Functor<Part>,
                  "attend: >> binds more tightly than |: put the masks in parentheses, a >> (mask | mask)");
}

}  // namespace attend

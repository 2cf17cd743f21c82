#pragma once
/// \file
/// What the parts of an attention must offer. A part is a plain value with a `kind`; kernels know parts only through
/// what stands here, so a new functor is a small header that nothing else has to know.
///
/// Every part may also have
/// - `void check(const Shape&) const`: throws what is wrong with a call of this shape, before anything is written;
/// - `static void parameters(auto& self, auto&& visit)`: `visit("name", self.member)` for every parameter, a scalar
///   or a dense Eigen object. The gradient of a part is a part of the same type whose parameters hold the gradients:
///   threads that add to one at the same time have one each;
/// - where parameters may be 16-bit numbers, `using Scalar` for their type and `cast<C>() const`, the same part of C:
///   their gradients are summed up in float;
/// - `auto spelled(const auto& say) const`: how one writes it, `return say("alibi", slope);`, for `to_string`.

#include <concepts>
#include <span>
#include <type_traits>

#include <attend/core/members.hpp>
#include <attend/core/score_tile.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {

/// What a part is, by its member `kind`: `score`, `modifier`, `mask`, `normalizer`, `engine` or `source`; and what is
/// composed of them, `attention`.
enum class Kind { score, modifier, mask, normalizer, engine, source, attention };

/// A row of scores: one query of one head.
struct RowPosition {
    Index query = 0, row = 0, head = 0, kv_head = 0, sequence = 0;  ///< as of a pair

    /// That of the pair with a key.
    constexpr Position at(Index key) const { return {query, key, row, head, kv_head, sequence}; }
};

/// A part of one kind.
template <class F, Kind kind_>
concept OfKind = requires { requires std::remove_cvref_t<F>::kind == kind_; };

/// A part of any kind.
template <class F>
concept Functor = requires {
    { std::remove_cvref_t<F>::kind } -> std::convertible_to<Kind>;
};

/// Which pairs exist: `bool operator()(Position) const`; and optionally, never contradicting the pairs:
/// - `Cover cover(const Tile&) const`: tiles of which it keeps nothing cost nothing;
/// - `void for_each_run(const RowPosition&, const KeySpan& keys, auto&& f) const`: `f(KeySpan)` for the runs of keys
///   that a query sees, all of them, in order. For masks under which a query sees few, and those beside it others.
template <class M>
concept Mask = OfKind<M, Kind::mask> && requires(const std::remove_cvref_t<M>& mask, Position p) {
    { mask(p) } -> std::convertible_to<bool>;
};

/// A mask's cover of a tile; `some` where it offers none.
template <Mask M>
constexpr Cover cover_of(const M& mask, const Tile& tile) {
    if constexpr (requires { mask.cover(tile); }) {
        return mask.cover(tile);
    } else {
        static_assert(!detail::HasCover<M>,
                      "attend: this mask has a cover that does not fit: it needs Cover cover(const Tile&) const");
        return Cover::some;
    }
}

/// Changes a score, knowing its position: `operator()(auto s, auto p) const`, written once for scalars, packs of lanes
/// and dual numbers of both, which give the derivative in s. One with parameters also has
/// `void backward(auto s, const auto& p, auto ds_out, Self& gradient) const`, adding the parameters' gradients for a
/// score `s` that came in, where `ds_out` is the loss's derivative in the score that went out: with `sum(…)`, what a
/// pack of lanes adds. Where one takes only scalars (`std::floating_point auto`) or a plain `Position`, it is called
/// lane by lane.
template <class M>
concept Modifier = OfKind<M, Kind::modifier>;

/// A normalizer that meets a row of scores a tile of keys at a time, −∞ where they are masked, in any number of tiles.
/// It is written once for rows that stand in the lanes of packs and for one row, whose keys may stand in lanes, P being
/// `Lanes<T>` or T, and offers
/// - `template <class P> struct State`: what a row has seen so far; members of type P and nothing else. As it is made
/// by
///   default, no key.
/// - `P take(auto& scores, State<P>& row, Index head) const`: takes in `scores.largest()` and, by `scores.replace(f)`,
///   which returns a sum over the keys, makes weights of them, 0 of −∞. Returns what the values that were weighted
///   before must be multiplied by.
/// - `std::pair<P, P> merge(State<P>& row, const State<P>& other, Index head) const`: takes in other keys; returns what
///   the weighted values of both must be multiplied by.
/// - `T factor(const State<T>& row, Index head) const`, what makes the output of the weighted values, and
///   `T lse(const State<T>& row, Index head) const`, what backward knows the row by: 0 and −∞ of a row without a key.
/// - `weight(s, lse, head)` and `weight(s, row, head) const`: a pack's weights again, from the LSEs, and but for the
///   factor from what was seen.
/// - `backward(s, p, dp, delta, head, Self* gradient) const`, which returns ds, where δ is the row's Σ p dp less what a
///   gradient of the LSE is; without one it is p (dp − δ), as of softmax. And, where a row itself gives something to
///   parameters, `row_backward(lse, delta, head, gradient)` and `row_backward(row, delta, head, gradient) const`.
///
/// One that does not look at `head` in `take`, `merge`, `weight` and `backward` may say `static constexpr bool
/// heads_alike = true`: packs may then have rows of several heads. And one whose row has the same bits where it stands
/// in a lane of `Lanes<T>` as where it is T, may say `packs_alike = true`: rows of a few keys then share a packet.
template <class N>
concept Fold =
    OfKind<N, Kind::normalizer> &&
    requires(const std::remove_cvref_t<N>& fold, RowScores<double>& scores, LaneScores<double>& lane_scores,
             typename std::remove_cvref_t<N>::template State<double>& row, double& number,
             typename std::remove_cvref_t<N>::template State<Lanes<double>>& rows, Lanes<double>& lanes, Index head) {
        number = fold.take(scores, row, head);
        lanes = fold.take(lane_scores, rows, head);
        lanes = fold.merge(rows, rows, head).first;
        number = fold.factor(row, head);
        number = fold.lse(row, head);
        lanes = fold.weight(lanes, lanes, head);
        lanes = fold.weight(lanes, rows, head);
    };

/// Turns a row of scores (−∞ where masked) into weights: a `Fold`, or by the row as a whole, in place.
/// `T normalize(std::span<T> row, const RowPosition&) const` returns the row's natural-log LSE;
/// `void backward(std::span<const T> p, std::span<T> dp, T lse, const RowPosition&, Self* gradient) const` turns dp
/// into ds. `exponentials` of softmax/row.hpp takes those of a row.
template <class N>
concept Normalizer =
    Fold<N> || (OfKind<N, Kind::normalizer> && requires(const std::remove_cvref_t<N>& normalizer, std::span<double> row,
                                                        const RowPosition& where, std::remove_cvref_t<N>* gradient) {
        { normalizer.normalize(row, where) } -> std::convertible_to<double>;
        normalizer.backward(std::span<const double>(row), row, 0.0, where, gradient);
    });

/// A normalizer that weighs each pair by itself: `weight(auto s, Index head) const` and
/// `weight_backward(auto p, auto dp, Index head, Self* gradient) const`, which returns ds; both written once for
/// scalars and packs of lanes.
template <class N>
concept PairNormalizer = Normalizer<N> && requires(const std::remove_cvref_t<N>& normalizer) {
    { normalizer.weight(0.0, Index(0)) } -> std::convertible_to<double>;
    { normalizer.weight_backward(0.0, 0.0, Index(0), nullptr) } -> std::convertible_to<double>;
};

/// A normalizer that needs the row whole: any other.
template <class N>
concept RowNormalizer = Normalizer<N> && !Fold<N> && !PairNormalizer<N>;

/// How the mapped features of a query and a key become a score.
enum class Pairing {
    dot,         ///< s = Σ_a q'_a k'_a
    elementwise  ///< s = Σ_a pair(q'_a, k'_a, a), with the functor's `pair`
};

/// How a query matches a key: both are mapped to features of one width, then paired.
/// A score has `static constexpr Pairing pairing` and may have, each with an identity as default,
/// - `Index features(Index d_q, Index d_k) const`;
/// - `Index query_width() const`, where queries are not as wide as keys: by it `prepare` checks the keys' width;
/// - `map_queries(q, mapped) const` and `map_queries_backward(q, dmapped, dq, Self* gradient) const`: q is rows × d_q,
///   mapped rows × features in the computing scalar, dq is added into; the same for `map_keys` and `map_keys_backward`;
/// - where the pairing is elementwise, `pair(auto q, auto k, Index a) const`, written once for scalars, packs of
///   lanes and dual numbers of both, and
///   `pair_backward(auto q, auto k, Index a, auto ds, Self& gradient) const` where it has parameters.
template <class S>
concept Score = OfKind<S, Kind::score> && requires {
    { std::remove_cvref_t<S>::pairing } -> std::convertible_to<Pairing>;
};

namespace detail {

/// Masks that list the keys of a query.
template <class M>
concept ListsKeys = requires(const M& mask, const RowPosition& row, const KeySpan& keys, void (*f)(const KeySpan&)) {
    mask.for_each_run(row, keys, f);
};

/// A score to which keys come as features already.
template <class S>
concept TakesFeatures = requires { requires S::keys_are_features; };

template <class F>
void check_part(const F& part, const Shape& shape) {
    if constexpr (requires { part.check(shape); }) {
        part.check(shape);
    } else {
        static_assert(!HasCheck<F>,
                      "attend: this part has a check that does not fit: it needs void check(const Shape&) const");
    }
}

}  // namespace detail
}  // namespace attend

#pragma once
/// \file
/// What a call asks of its plan and its workspace besides its shape: all that these know of an attention.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <utility>

#include <attend/engine/fastest.hpp>
#include <attend/engine/products.hpp>
#include <attend/engine/rows.hpp>
#include <attend/parts/maps.hpp>
#include <attend/parts/modifiers.hpp>
#include <attend/parts/pairs.hpp>
#include <attend/parts/row_states.hpp>
#include <attend/softmax/softmax.hpp>
#include <attend/source/mapped.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The fold of a normalizer, or what makes the LSE of one that weighs each pair by itself.
template <class N>
using FoldOf = std::conditional_t<Fold<N>, N, Softmax>;
template <class N>
const FoldOf<N>& fold_of(const N& normalizer) {
    if constexpr (Fold<N>) {
        return normalizer;
    } else {
        return softmax;
    }
}

/// So little that it takes less to compute it row by row than to put it into lanes.
template <class T>
constexpr bool is_little(Index queries, Index keys, Index width, Index d_v) {
    return queries <= 2 * most_few_queries<T> && keys <= 16 && std::max(width, d_v) <= 64;
}
/// Whether the queries of a sequence are few. However many heads share their keys, and whatever else is in the batch:
/// its bits depend on its own shape. Nor are those few that another block of a team leaves, which read its tiles.
template <class T, class E>
bool are_few(Index queries, Index keys, Index width, Index d_v) {
    constexpr Index most = Products<T, E>::most_rows;
    return most > 0 && (queries <= most || is_little<T>(queries, keys, width, d_v));
}

template <class A>
using MaskOf = std::remove_cvref_t<decltype(std::declval<const A&>().mask)>;
/// Whether an attention's engine may pack. A sigmoid's weights may all be so small that nothing of them would be left
/// where the packed form is rougher than the numbers themselves.
template <class T, class A, class E>
inline constexpr bool may_pack = Products<T, E>::can_pack && A::ScoreFunctor::pairing == Pairing::dot &&
                                 !PairNormalizer<typename A::NormalizerFunctor>;

/// How many blocks of a head go through the keys together at most: as many as it takes for what a tile of keys costs,
/// to be packed or widened above all, to be little beside the products. Under a mask that lists keys, none shares a
/// tile.
template <class T, class A, class X, class E>
inline constexpr Index most_team =
    (may_pack<T, A, E> || !std::is_same_v<T, X>)&&Fold<typename A::NormalizerFunctor> && !ListsKeys<MaskOf<A>> ? 8 : 1;

/// Whether backward sees each pair twice, as of an output of 16 bits, which is too rough to tell δ.
template <class T, class X>
inline constexpr bool sees_twice = !std::is_same_v<T, X>;

struct Needs {
    Index width = 0;            ///< features of a query and of a key
    std::size_t key_bytes = 0;  ///< of the features of all keys, where they are not the keys themselves
    Index most_team = 1;
    Index tile_modifiers = 0;
    Index state_members = 0;    ///< of a row's state
    bool merges = false;        ///< results over parts of the keys can be merged
    bool whole_rows = false;    ///< the normalizer needs rows of scores whole
    bool sees_twice = false;    ///< backward sees each pair twice
    bool keeps_scores = false;  ///< somebody looks at scores beside the weights that take their place
    bool lists_keys = false;    ///< the mask does
    bool exponentials = false;  ///< of the features, for pairs that are formed from them
    PackedMemory packing = {};  ///< of packed operands, where blocks share their keys
    bool modifies = false;
};
/// `width`: features of a query and of a key; `key_bytes`: what those of all keys take in the call's memory.
template <class T, class A, class E = typename A::EngineType>
Needs needs_of(const Shape& shape, Index width, std::size_t key_bytes) {
    using N = typename A::NormalizerFunctor;
    static_assert(Fold<N> || !HasTake<N>,
                  "attend: this normalizer has a take, but is no fold: it needs State<P>, take, merge, factor, lse and "
                  "weight as core/concepts.hpp says them");
    PackedMemory packing;
    if constexpr (may_pack<T, A, E>) packing = Products<T, E>::packed_memory(width, shape.d_v);
    return {.width = width,
            .key_bytes = key_bytes,
            .most_team = packing ? most_team<T, A, T, E> : 1,
            .tile_modifiers = static_cast<Index>(most_tile_modifiers<typename A::ModifierChain, T>()),
            .state_members = RowStates<T, FoldOf<N>>::members,
            .merges = Fold<N>,
            .whole_rows = RowNormalizer<N>,
            .lists_keys = ListsKeys<MaskOf<A>>,
            .exponentials = ExponentialScore<typename A::ScoreFunctor, T>,
            .packing = packing,
            .modifies = A::ModifierChain::count > 0};
}
/// The rows of keys that a source gives to a few queries, or none that are known.
template <class Source>
struct HeldBy {
    using Rows = void;
};
template <class Source>
    requires requires(const typename Source::Head& head) { head.held_keys(0, 0); }
struct HeldBy<Source> {
    using Rows = decltype(std::declval<const typename Source::Head&>().held_keys(0, 0));
};
/// The engine of a forward call on a source, for operands of X.
template <class Source, class T, class X, class A>
const auto& engine_of(const A& attention) {
    using E = typename A::EngineType;
    constexpr bool dense = std::is_same_v<Source, SourceOf<T, A, X>>;
    if constexpr (ScalesQueries<typename A::ScoreFunctor, T> && (!dense || std::is_same_v<KeyScalar<T, A, X>, X>)) {
        return forward_engine<E, X, typename HeldBy<Source>::Rows, dense>(attention.engine);
    } else {
        return attention.engine;
    }
}
template <class T, class A, class X, class Source>
using ForwardEngine = std::remove_cvref_t<decltype(engine_of<Source, T, X>(std::declval<const A&>()))>;

/// Of a call on operands.
template <class T, class A, class X, class E>
Needs needs_of(const A& attention, const Shape& shape) {
    const Index width = features_of(attention.score(), shape);
    Needs needs = needs_of<T, A, E>(shape, width, KeyFeatures<T, A, X>::bytes(shape, width));
    if (!std::is_same_v<T, X>) needs.most_team = most_team<T, A, X, E>;
    return needs;
}

}  // namespace attend::detail::fused

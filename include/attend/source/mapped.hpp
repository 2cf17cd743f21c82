#pragma once
/// \file
/// The keys of a call as features of the score, formed once a key.

#include <algorithm>
#include <type_traits>

#include <attend/core/executor.hpp>
#include <attend/core/workspace.hpp>
#include <attend/source/dense.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Whether a score maps keys of X to features of its own; otherwise they are their own features.
template <class S, class T, class X>
concept MapsKeys = !TakesFeatures<S> && requires(const S& score, const Slice<const X>& k,
                                                 Eigen::Map<RowMatrix<T>>& mapped) { score.map_keys(k, mapped); };

/// The scalar of the features of keys.
template <class T, class A, class X>
using KeyScalar = std::conditional_t<MapsKeys<typename A::ScoreFunctor, T, X>, T, X>;

/// How many features a score makes of a query or a key.
template <class S>
Index features_of(const S& score, const Shape& shape) {
    if constexpr (requires { score.features(shape.d_q, shape.d_k); }) {
        return score.features(shape.d_q, shape.d_k);
    } else {
        static_assert(!HasFeatures<S>,
                      "attend: this score has features that do not fit: it needs Index features(Index d_q, Index d_k) "
                      "const");
        return shape.d_q;
    }
}

/// The source of a call on operands.
template <class T, class A, class X>
using SourceOf = DenseSource<T, KeyScalar<T, A, X>, X>;

/// Where the features of all keys of a call stand: in the operand itself, or row by row in memory of the call's.
template <class T, class A, class X>
class KeyFeatures {
public:
    using Scalar = KeyScalar<T, A, X>;
    static constexpr bool maps = MapsKeys<typename A::ScoreFunctor, T, X>;

    /// The bytes that the features take.
    static std::size_t bytes(const Shape& shape, Index width) {
        Arena arena;
        if constexpr (maps) arena.take<T>(shape.all_keys() * shape.kv_heads * width);
        return arena.used();
    }

    /// The features of a call's keys, formed in `memory`.
    static StridedView<const Scalar> of(const A& attention, const StridedView<const X>& k, Index width,
                                        std::byte* memory, const ExecutorRef& executor) {
        if constexpr (maps) {
            return map(attention.score(), k, width, reinterpret_cast<T*>(memory), executor);
        } else {
            using S = typename A::ScoreFunctor;
            static_assert(TakesFeatures<S> || !HasMapKeys<S>,
                          "attend: this score has map_keys that does not fit: it needs void map_keys(const auto& k, "
                          "auto& mapped) const");
            return k;
        }
    }

    /// Maps the keys of all heads to `to`, head after head, by tiles of rows, which the executor's threads share. A
    /// row's features do not depend on its tile.
    static StridedView<T> map(const typename A::ScoreFunctor& score, const StridedView<const X>& k, Index width, T* to,
                              const ExecutorRef& executor)
        requires maps
    {
        const Index tiles = (k.rows + tile - 1) / tile;
        executor.for_each(k.sequences * k.heads * tiles, [&](Index task, Index) {
            const Index head = task / tiles, begin = task % tiles * tile, rows = std::min(tile, k.rows - begin);
            const Slice<const X> keys =
                rows_of(k, head / k.heads * k.sequence_stride + begin * k.row_stride, head % k.heads, rows);
            Eigen::Map<RowMatrix<T>> mapped(to + (head * k.rows + begin) * width, rows, width);
            score.map_keys(keys, mapped);
        });
        return {to, k.sequences, k.heads, k.rows, width, k.heads * k.rows * width, k.rows * width, width, 1};
    }

private:
    static constexpr Index tile = 256;
};

}  // namespace attend

#pragma once
/// \file
/// Insight: what a call tells of its weights without ever holding them all. Reductions are given to a call as `.insight
/// = {entropy, sums}`; once a block's rows are known, its weights are formed again, tile by tile, and shown to them.

#include <concepts>
#include <memory>
#include <type_traits>

#include <attend/core/errors.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {

/// A call, as reductions of its weights are told of it. Rows are counted through all sequences, as those of the LSE
/// are.
struct WeightsShape {
    /// Where a sequence's rows begin, how many they are, and how many keys they have.
    struct Extent {
        Index first_row = 0, queries = 0, keys = 0;  ///< the first counted through all sequences
    };

    Index sequences = 1, heads = 1, kv_heads = 1;  ///< of the call
    Index rows = 0;                                ///< of all sequences
    Index keys = 0;                                ///< of the sequence that has most
    Index parts = 1;                               ///< into which the rows of a head are cut, at most
    const void* call = nullptr;                    ///< what `extent_of` is given
    Extent (*extent_of)(const void* call, Index sequence) = nullptr;  ///< what `extent` asks

    /// Of a sequence.
    Extent extent(Index sequence) const { return extent_of(call, sequence); }
};

/// Weights of some rows of one head with some keys; and the final scores, for reductions that see them. Hidden pairs
/// have weight 0 and score −∞; tiles that nobody sees are not shown.
///
/// Either rows follow each other in memory (row_stride 1) or keys do (key_stride 1).
template <class T>
struct WeightsTile {
    Index sequence, head;                ///< whose weights they are
    Index part;                          ///< which part of the head's rows these belong to
    Index row, rows;                     ///< the first, counted through all sequences, and how many
    Index key, keys;                     ///< the first, counted from the sequence's first, and how many
    Index query_position, key_position;  ///< of the first row and of the first key; the others follow them
    Index row_stride, key_stride;        ///< from one to the next, in elements
    const T* weights;                    ///< but for the rows' factors
    const T* factors;                    ///< by row
    const T* scores;                     ///< none, where they are not seen

    /// The weight of row `row + i` with key `key + j`.
    T weight(Index i, Index j) const { return factors[i] * weights[i * row_stride + j * key_stride]; }
    /// The final score of row `row + i` with key `key + j`.
    T score(Index i, Index j) const { return scores[i * row_stride + j * key_stride]; }
};

/// What reduces the weights of a call: a value that holds what it finds. It is asked
/// - `void start(const WeightsShape&)`, when nothing can be refused any more: what earlier calls have left is gone;
/// - `void take(const WeightsTile<T>&)`, tile by tile. The tiles of a row come in the order of its keys, and all tiles
///   of one sequence, head and part come one after the other, in an order that does not depend on threads. Tiles of
///   others may come at the same time, on other threads: so what is kept by row needs no care, and what is summed up
///   over rows is summed up for each part, and the parts are added in `finish`, in order;
/// and it may have
/// - `void check(const WeightsShape&) const`: throws where the call does not fit, before anything is written;
/// - `bool wants(Index head, Index row, Index rows) const`: false of rows that it need not see;
/// - `void finish(const WeightsShape&)`, after the last tile;
/// - `static constexpr bool sees_scores = true`.
template <class R, class T>
concept Reduction = requires(R& reduction, const WeightsShape& shape, const WeightsTile<T>& tile) {
    reduction.start(shape);
    reduction.take(tile);
};

namespace detail {

/// What is asked of a reduction of any type.
template <class T>
struct ReductionCalls {
    void (*check)(const void*, const WeightsShape&);
    void (*start)(void*, const WeightsShape&);
    bool (*wants)(const void*, Index, Index, Index);
    void (*take)(void*, const WeightsTile<T>&);
    void (*finish)(void*, const WeightsShape&);
    bool sees_scores;

    template <class R>
    static constexpr ReductionCalls of() {
        return {.check =
                    [](const void* given, const WeightsShape& shape) {
                        const R& reduction = *static_cast<const R*>(given);
                        if constexpr (requires { reduction.check(shape); }) reduction.check(shape);
                    },
                .start = [](void* given, const WeightsShape& shape) { static_cast<R*>(given)->start(shape); },
                .wants =
                    [](const void* given, Index head, Index row, Index rows) {
                        const R& reduction = *static_cast<const R*>(given);
                        if constexpr (requires { reduction.wants(head, row, rows); }) {
                            return static_cast<bool>(reduction.wants(head, row, rows));
                        } else {
                            return true;
                        }
                    },
                .take = [](void* given, const WeightsTile<T>& tile) { static_cast<R*>(given)->take(tile); },
                .finish =
                    [](void* given, const WeightsShape& shape) {
                        R& reduction = *static_cast<R*>(given);
                        if constexpr (requires { reduction.finish(shape); }) reduction.finish(shape);
                    },
                .sees_scores = requires {requires R::sees_scores;
    }
};
}
};

}  // namespace detail

/// Reductions that a call shall show its weights to, at most 8, borrowed: `.insight = {entropy, sums}`.
template <class T>
class Insight {
public:
    static constexpr Index most = 8;  ///< reductions of one call

    Insight() = default;
    /// Borrows reductions that have a name. Throws where one is named twice.
    template <class... Reductions>
        requires(sizeof...(Reductions) > 0 && !(std::same_as<std::remove_cvref_t<Reductions>, Insight> || ...))
    Insight(Reductions&&... reductions) {  // NOLINT(google-explicit-constructor): options are given reductions
        static_assert(sizeof...(Reductions) <= most, "attend: at most 8 reductions can look at one call");
        (add(std::forward<Reductions>(reductions)), ...);
    }
    // Only what is used is copied: of most calls nothing.
    Insight(const Insight& other) : count_(other.count_) {
        for (Index i = 0; i < count_; ++i) each_[i] = other.each_[i];
    }
    Insight& operator=(const Insight& other) {
        count_ = other.count_;
        for (Index i = 0; i < count_; ++i) each_[i] = other.each_[i];
        return *this;
    }

    explicit operator bool() const { return count_ > 0; }
    bool sees_scores() const {
        return any([](const One& one) { return one.calls->sees_scores; });
    }
    bool wants(Index head, Index row, Index rows) const {
        return any([&](const One& one) { return one.calls->wants(one.reduction, head, row, rows); });
    }
    void check(const WeightsShape& shape) const {
        for_each([&](const One& one) { one.calls->check(one.reduction, shape); });
    }
    void start(const WeightsShape& shape) const {
        for_each([&](const One& one) { one.calls->start(one.reduction, shape); });
    }
    void take(const WeightsTile<T>& tile) const {
        for_each([&](const One& one) { one.calls->take(one.reduction, tile); });
    }
    void finish(const WeightsShape& shape) const {
        for_each([&](const One& one) { one.calls->finish(one.reduction, shape); });
    }

private:
    struct One {
        void* reduction;
        const detail::ReductionCalls<T>* calls;
    };
    template <class R>
    static constexpr detail::ReductionCalls<T> calls_of = detail::ReductionCalls<T>::template of<R>();

    template <class Given>
    void add(Given&& reduction) {
        using R = std::remove_reference_t<Given>;
        constexpr bool named = std::is_lvalue_reference_v<Given>, writable = !std::is_const_v<R>,
                       reduces = Reduction<std::remove_cv_t<R>, T>;
        static_assert(named, "attend: this reduction is a temporary, gone with what it finds: give it a name");
        static_assert(writable, "attend: a reduction keeps what it finds: it must not be const");
        static_assert(reduces,
                      "attend: a reduction needs void start(const WeightsShape&) and void take(const WeightsTile<T>&), "
                      "where T is the scalar that the call computes in: see core/insight.hpp");
        if constexpr (named && writable && reduces) {
            detail::require(!any([&](const One& one) { return one.reduction == std::addressof(reduction); }),
                            "insight: reduction ", count_, " is named twice: it would count everything twice");
            each_[count_++] = {std::addressof(reduction), &calls_of<R>};
        }
    }
    template <class F>
    void for_each(F&& f) const {
        for (Index i = 0; i < count_; ++i) f(each_[i]);
    }
    template <class F>
    bool any(F&& f) const {
        for (Index i = 0; i < count_; ++i) {
            if (f(each_[i])) return true;
        }
        return false;
    }

    One each_[most];
    Index count_ = 0;
};

}  // namespace attend

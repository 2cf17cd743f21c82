#pragma once
/// \file
/// An attention as boundary.hpp describes it to calls of another instruction set.

#include <algorithm>
#include <concepts>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

#include <attend/attention.hpp>
#include <attend/dispatch/boundary.hpp>
#include <attend/mask/causal.hpp>
#include <attend/mask/dense.hpp>
#include <attend/mask/documents.hpp>
#include <attend/mask/lengths.hpp>
#include <attend/mask/sliding_window.hpp>
#include <attend/modifier/alibi.hpp>
#include <attend/modifier/bias.hpp>
#include <attend/modifier/soft_cap.hpp>
#include <attend/normalizer/sink.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Where a modifier stands among those that are served; 0: nowhere.
template <class M>
inline constexpr int foreign_rank = 0;
template <>
inline constexpr int foreign_rank<SoftCap> = 1;
template <class Slope>
inline constexpr int foreign_rank<Alibi<Slope>> = 2;
template <class T>
inline constexpr int foreign_rank<DenseBias<T>> = 3;

/// Whether modifiers are served, in their order.
template <class Each>
inline constexpr bool foreign_modifiers_fit = false;
template <class... Ms>
inline constexpr bool foreign_modifiers_fit<std::tuple<Ms...>> = [] {
    [[maybe_unused]] int last = 0;
    return ((foreign_rank<Ms> > std::exchange(last, foreign_rank<Ms>)) && ...);
}();

template <class N>
inline constexpr bool foreign_sink = false;
template <class Logit>
inline constexpr bool foreign_sink<SoftmaxWithSink<Logit>> = true;

/// How many masks of a conjunction are of each kind.
struct MaskCounts {
    int windows = 0, dense = 0, documents = 0, lengths = 0, others = 0;

    constexpr MaskCounts operator+(const MaskCounts& more) const {
        return {windows + more.windows, dense + more.dense, documents + more.documents, lengths + more.lengths,
                others + more.others};
    }
    /// Whether each can be told by itself.
    constexpr bool fit() const { return std::max({windows, dense, documents, lengths, others}) <= 1; }
};
template <class M>
inline constexpr MaskCounts mask_counts = {.others = 1};
template <>
inline constexpr MaskCounts mask_counts<Everything> = {};
template <>
inline constexpr MaskCounts mask_counts<Causal> = {};
template <>
inline constexpr MaskCounts mask_counts<SlidingWindow> = {.windows = 1};
template <>
inline constexpr MaskCounts mask_counts<DenseMask> = {.dense = 1};
template <>
inline constexpr MaskCounts mask_counts<Documents> = {.documents = 1};
template <>
inline constexpr MaskCounts mask_counts<Lengths> = {.lengths = 1};
template <class A, class B>
inline constexpr MaskCounts mask_counts<MaskAnd<A, B>> = mask_counts<A> + mask_counts<B>;

/// How another object asks a mask.
template <class M>
struct AskedMask {
    static void keep(const void* mask, const boundary::Position* first, Index query_step, Index row_step,
                     Index key_step, Index count, bool* kept) {
        Position p{first->query, first->key, first->row, first->head, first->kv_head, first->sequence};
        for (Index i = 0; i < count; ++i, p.query += query_step, p.row += row_step, p.key += key_step)
            kept[i] = (*static_cast<const M*>(mask))(p);
    }
    static int cover(const void* mask, const boundary::Tile* t) {
        return static_cast<int>(
            cover_of(*static_cast<const M*>(mask), Tile{t->query_begin, t->query_end, t->key_begin, t->key_end,
                                                        t->row_begin, t->head, t->kv_head, t->sequence}));
    }
};

template <class M>
void describe(const M& mask, boundary::Mask& to) {
    to.other = &mask;
    to.keep = AskedMask<M>::keep;
    to.cover = AskedMask<M>::cover;
}
inline void describe(const Everything&, boundary::Mask&) {}
inline void describe(const Causal&, boundary::Mask& to) { to.causal = true; }
inline void describe(const SlidingWindow& mask, boundary::Mask& to) {
    to.window = true;
    to.left = mask.left, to.right = mask.right;
}
inline void describe(const DenseMask& mask, boundary::Mask& to) {
    to.dense = mask.keep.data();
    to.dense_rows = mask.keep.rows(), to.dense_columns = mask.keep.cols();
}
inline boundary::Indices indices_of(std::span<const Index> indices) {
    return {indices.data(), static_cast<Index>(indices.size())};
}
inline void describe(const Documents& mask, boundary::Mask& to) { to.documents = indices_of(mask.offsets); }
inline void describe(const Lengths& mask, boundary::Mask& to) { to.lengths = indices_of(mask.length); }
template <class A, class B>
    requires(mask_counts<MaskAnd<A, B>>.fit())
void describe(const MaskAnd<A, B>& mask, boundary::Mask& to) {
    describe(mask.a, to);
    describe(mask.b, to);
}

inline boundary::Numbers numbers_of(const double& value, double* gradient) { return {&value, gradient, 1}; }
inline boundary::Numbers numbers_of(const Eigen::VectorXd& values, Eigen::VectorXd* gradient) {
    return {values.data(), gradient == nullptr ? nullptr : gradient->data(), values.size()};
}

/// What is wrong with an attention, as it would be served, is said at once, in words.
template <class A>
consteval bool is_described() {
    using S = typename A::ScoreFunctor;
    using N = typename A::NormalizerFunctor;
    constexpr bool score = std::same_as<S, DotScore> || std::same_as<S, ScaledDotScore>;
    constexpr bool modifiers = foreign_modifiers_fit<decltype(A::ModifierChain::each)>;
    constexpr bool mask = !ListsKeys<std::remove_cvref_t<decltype(std::declval<const A&>().mask)>>;
    constexpr bool normalizer = std::is_base_of_v<Softmax, N> || foreign_sink<N>;
    static_assert(score, "attend: dispatched: the score must be dot_product or scaled_dot_product");
    static_assert(!score || modifiers,
                  "attend: dispatched: the modifiers may be soft_cap, alibi and bias(matrix), in this order");
    static_assert(!score || !modifiers || mask,
                  "attend: dispatched: a mask that lists its keys, such as neighbourhood, is not served");
    static_assert(!score || !modifiers || !mask || normalizer,
                  "attend: dispatched: the normalizer must be softmax or softmax_with_sink");
    return score && modifiers && mask && normalizer;
}

/// The description of an attention whose calls compute in T, and of its gradient, if there is one; both are borrowed.
template <class T, class A>
boundary::Composition composition_of(const A& attention, A* gradient = nullptr) {
    boundary::Composition to{};
    if constexpr (std::same_as<typename A::ScoreFunctor, DotScore>) {
        to.scaled = true, to.scale = 1;
    } else if (attention.scale) {
        to.scaled = true, to.scale = *attention.scale;
    }
    const auto add = [&to]<class M>(const M& m, M* of_m) {
        if constexpr (foreign_rank<M> == 1) {
            to.cap = numbers_of(m.cap, of_m == nullptr ? nullptr : &of_m->cap);
        } else if constexpr (foreign_rank<M> == 2) {
            to.slopes = numbers_of(m.slope, of_m == nullptr ? nullptr : &of_m->slope);
        } else {
            constexpr bool fits = std::same_as<typename M::Scalar, T>;
            static_assert(fits,
                          "attend: dispatched: a bias must have the scalar type that the call computes in: float of "
                          "16-bit operands");
            static constexpr typename M::Scalar somewhere{};
            to.bias = {m.values.size() > 0 ? m.values.data() : &somewhere,
                       of_m == nullptr ? nullptr : of_m->values.data(), m.values.rows(), m.values.cols(), m.heads};
        }
    };
    [&]<std::size_t... i>(std::index_sequence<i...>) {
        (add(std::get<i>(attention.modifiers.each),
             gradient == nullptr ? nullptr : &std::get<i>(gradient->modifiers.each)),
         ...);
    }(std::make_index_sequence<A::ModifierChain::count>());
    describe(attention.mask, to.mask);
    if constexpr (foreign_sink<typename A::NormalizerFunctor>)
        to.sink = numbers_of(attention.normalizer.sink, gradient == nullptr ? nullptr : &gradient->normalizer.sink);
    return to;
}

}  // namespace attend::detail

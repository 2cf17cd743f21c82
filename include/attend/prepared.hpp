#pragma once
/// \file
/// Keys and values that many calls read: the memory of a decoder, which asks it at every step.

#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include <attend/attention.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// A score whose keys are features of it, as it once made them of keys of width `d_k`.
template <Score S>
struct PreparedScore : S {
    static constexpr bool keys_are_features = true;

    Index width_of_prepared_keys = 0;

    PreparedScore(const S& score, Index width) : S(score), width_of_prepared_keys(width) {}

    /// Those of the score: a member of this one could hide what they name.
    static void parameters(auto& self, auto&& visit)
        requires HasParameters<S>
    {
        using Score = std::conditional_t<std::is_const_v<std::remove_reference_t<decltype(self)>>, const S, S>;
        S::parameters(static_cast<Score&>(self), visit);
    }

    void check(const Shape& features) const {
        Shape shape = features;
        shape.d_k = width_of_prepared_keys;
        const S& score = *this;
        if constexpr (!requires { score.check(shape); })
            require(shape.d_q == shape.d_k, "q and the prepared k must have the same width, not ", shape.d_q, " and ",
                    shape.d_k);
        check_part(score, shape);
        if constexpr (HasMapKeys<S>) {
            const Index width = features_of(score, shape);
            require(width == features.d_k, "the score makes ", width, " features of queries of width ", shape.d_q,
                    " and ", features.d_k, " of the prepared keys");
        }
    }
    Index features(Index d_q, Index) const {
        Shape shape;
        shape.d_q = d_q, shape.d_k = width_of_prepared_keys;
        return features_of(static_cast<const S&>(*this), shape);
    }
    /// That of the queries to come.
    Index width_of_queries() const {
        if constexpr (requires(const S& score) { score.query_width(); }) {
            return S::query_width();
        } else {
            return width_of_prepared_keys;
        }
    }
};

/// A batch of heads in memory of its own: head after head of rows.
template <class X>
class OwnBatch {
public:
    OwnBatch() = default;
    OwnBatch(const OwnBatch&) = default;
    OwnBatch(OwnBatch&& other) noexcept : view_(std::exchange(other.view_, {})), values_(std::move(other.values_)) {}
    OwnBatch& operator=(OwnBatch other) noexcept {
        std::swap(view_, other.view_), values_.swap(other.values_);
        return *this;
    }

    template <class Y>
    void resize(const StridedView<Y>& like, Index columns) {
        view_ = {nullptr,
                 like.sequences,
                 like.heads,
                 like.rows,
                 columns,
                 like.heads * like.rows * columns,
                 like.rows * columns,
                 columns,
                 1};
        values_.resize(like.sequences * like.heads * like.rows * columns);
        view_.data = values_.data();
    }
    void copy(const StridedView<const X>& from) {
        resize(from, from.columns);
        for (Index head = 0; head < from.sequences * from.heads; ++head) this->head(head) = head_of(from, head);
    }
    void clear() { values_.setZero(); }

    StridedView<X> view() {
        view_.data = values_.data();  // which a move takes along
        return view_;
    }
    StridedView<const X> view() const {
        StridedView<const X> view = view_;
        view.data = values_.data();
        return view;
    }
    bool empty() const { return values_.size() == 0; }

    /// Of all sequences' heads one.
    Slice<X> head(Index head) { return head_of(view(), head); }
    template <class Y>
    static Slice<Y> head_of(const StridedView<Y>& view, Index head) {
        return rows_of(view, head / view.heads * view.sequence_stride, head % view.heads, view.rows);
    }

private:
    StridedView<X> view_{};
    ColumnVector<X> values_;
};

/// Refuses gradients of parameters in the memory of those of keys and values.
template <class X>
auto apart_from(const Output<X>& dk, const Output<X>& dv) {
    return [&dk, &dv](const auto& matrix, const ParameterName& name) {
        if constexpr (DenseMemory<decltype(matrix)>) {
            const auto view = view_of(matrix.data(), matrix);
            if (may_overlap(view, dk.given()) || may_overlap(view, dv.given()))
                refuse("gradient: ", name.text(), " has memory of dk or dv");
        }
    };
}

}  // namespace detail

/// What `attention.prepare(k, v)` gives: copies of k and v, the features that the attention's score makes of the keys,
/// and the attention as it was then. A call on it gives what `attention(q, k, v)` would, to the bit, and does not map
/// the keys again: of an additive score on n keys a call with one query then costs O(n · hidden), not
/// O(n · d_k · hidden).
///
///     auto memory = attention.prepare(k, v);
///     for (…) memory(q, out, {.lse = lse});
///     for (…) memory.backward(q, out, lse, dout, dq);
///     memory.add_gradients(dk, dv, &gradient);
///
/// k is n × d_k, v n × d_v; q and the output as of the attention. Throws `std::invalid_argument` where shapes do not
/// fit. Calls on a const one may run at the same time; a copy has gathered what the original had. O(n · (d_k + d_v +
/// features)) memory, and as much of features and d_v again from the first `backward` on. For float and double.
template <class A, class X>
class Prepared {
public:
    /// The attention on what has been prepared.
    using Inner =
        Attention<detail::PreparedScore<typename A::ScoreFunctor>, typename A::ModifierChain,
                  std::remove_cvref_t<decltype(A::mask)>, typename A::NormalizerFunctor, typename A::EngineType>;

    /// What `attention.prepare(k, v)` calls: throws where k and v do not fit it. O(n · (d_k · features + d_v)).
    template <detail::OperandLike Key, detail::OperandLike V>
    Prepared(const A& attention, const Key& k, const V& v, const detail::ExecutorRef& executor = serial)
        : Prepared(attention, detail::Operand(k), detail::Operand(v), executor) {}

    /// As the attention's own calls, without keys and values.
    /// @{
    template <detail::OperandLike Q>
    auto operator()(const Q& q, ForwardOptions<X> options = {}) const {
        return inner_(q, features(), v_.view(), std::move(options));
    }
    template <detail::OperandLike Q>
    void operator()(const Q& q, Output<X> out, ForwardOptions<X> options = {}) const {
        inner_(q, features(), v_.view(), std::move(out), std::move(options));
    }
    /// @}

    /// Adds the gradient of q, and gathers those of the keys, the values and all parameters until `add_gradients`. A
    /// call that throws while it computes drops what has been gathered. Throws where `.gradient` is given.
    template <detail::OperandLike Q, detail::OperandLike Out, detail::OperandLike Lse, detail::OperandLike DOut>
    void backward(const Q& q, const Out& out, const Lse& lse, const DOut& dout, Output<X> dq,
                  BackwardOptions<Inner> options = {}) {
        detail::require(options.gradient == nullptr,
                        "gradient: prepared keys gather the parameters' gradients themselves: add_gradients adds them");
        start_gathering();
        options.gradient = &*sums_;
        // Of a call that throws half of the gradients may be there, which nobody could take out again.
        struct Drop {
            bool& gathers;
            bool writes = false;
            ~Drop() { gathers = gathers && !writes; }
        } drop{gathers_};
        Output<X> of_k = dfeatures_.view(), of_v = dv_.view();
        inner_.add_gradients(q, features(), v_.view(), out, lse, dout, dq, of_k, of_v, options, &drop.writes);
        drop.writes = false;
    }

    /// Adds what has been gathered to the gradients of k, of v and, where one is given, of the attention; then nothing
    /// is gathered any more. They have the shapes of k and v; empty ones are resized and start at 0. Throws where they
    /// do not fit.
    void add_gradients(Output<X> dk, Output<X> dv, A* gradient = nullptr) {
        const StridedView<const X> k = k_.view(), v = v_.view();
        check(dk, dv, gradient);
        const StridedView<X> to_k = dk.as(k.sequences, k.heads, k.rows, k.columns),
                             to_v = dv.as(v.sequences, v.heads, v.rows, v.columns);
        if (!std::exchange(gathers_, false)) return;
        auto& score = static_cast<typename A::ScoreFunctor&>(sums_->score());
        for (Index head = 0; head < k.sequences * k.heads; ++head) {
            detail::Slice<X> of_v = detail::OwnBatch<X>::head_of(to_v, head),
                             of_k = detail::OwnBatch<X>::head_of(to_k, head);
            of_v += dv_.head(head);
            detail::map_keys_backward(static_cast<const typename A::ScoreFunctor&>(inner_.score()),
                                      detail::OwnBatch<X>::head_of(k, head), dfeatures_.head(head), of_k, &score);
        }
        if (gradient != nullptr) {
            detail::add_parameters(score, gradient->score());
            detail::add_parameters(sums_->modifiers, gradient->modifiers);
            detail::add_parameters(sums_->normalizer, gradient->normalizer);
        }
    }

private:
    static_assert(std::is_same_v<Compute<X>, X> && !std::numeric_limits<X>::is_integer,
                  "attend: prepare takes keys of float or double: features of 16-bit keys are no 16-bit numbers");
    static_assert(
        !A::any_half,
        "attend: prepare takes attentions whose parameters are float or double: sums of many steps' gradients "
        "in 16 bits would stop growing");
    static constexpr bool maps = detail::KeyFeatures<X, A, X>::maps;

    template <class Key, class V>
    Prepared(const A& attention, const detail::Operand<Key>& k_operand, const detail::Operand<V>& v_operand,
             const detail::ExecutorRef& executor)
        : inner_(detail::PreparedScore<typename A::ScoreFunctor>(attention.score(), k_operand.view().columns),
                 attention.modifiers, attention.mask, attention.normalizer, attention.engine) {
        const StridedView<const X> k = k_operand.view(), v = v_operand.view();
        static constexpr X somewhere{};
        const StridedView<const X> q{&somewhere, k.sequences, k.heads, 0, inner_.score().width_of_queries()};
        const detail::Problem<X> problem(q, k, v, 0, {}, {});
        if constexpr (requires(const typename A::ScoreFunctor& score) { score.query_width(); })
            detail::check_part(attention.score(), problem.shape);  // of others the calls find out
        k_.copy(k), v_.copy(v);
        if constexpr (maps) {
            features_.resize(k, inner_.features(q.columns, k.columns));
            detail::KeyFeatures<X, A, X>::map(attention.score(), k, features_.view().columns, features_.view().data,
                                              executor);
        }
    }
    void start_gathering() {
        if (gathers_) return;
        dfeatures_.resize(k_.view(), features().columns), dfeatures_.clear();
        dv_.resize(v_.view(), v_.view().columns), dv_.clear();
        if (!sums_) sums_.emplace(inner_);
        if (detail::share_parameters(*sums_, inner_)) {
            sums_.reset();
            detail::refuse("prepare: a parameter that is a view of memory has no copy to gather its gradient in");
        }
        const auto clear = [](const detail::ParameterName&, auto& matrix) { matrix.setZero(); };
        detail::walk_parameters(*sums_, {}, clear);
        gathers_ = true;
    }

    StridedView<const X> features() const { return maps ? features_.view() : k_.view(); }

    void check(const Output<X>& dk, const Output<X>& dv, const A* gradient) const {
        const StridedView<const X> k = k_.view(), v = v_.view();
        detail::require(dk && dv, "the gradients dk and dv must be given");
        dk.check("dk", k.sequences, k.heads, k.rows, k.columns);
        dv.check("dv", v.sequences, v.heads, v.rows, v.columns);
        detail::require_apart(detail::Place(dk, "dk"), detail::Place(dv, "dv"));
        if (gradient == nullptr) return;
        const auto apart = detail::apart_from(dk, dv);
        detail::check_gradient(static_cast<const typename A::ScoreFunctor&>(inner_.score()), gradient->score(), apart);
        detail::check_gradient(inner_.modifiers, gradient->modifiers, apart);
        detail::check_gradient(inner_.normalizer, gradient->normalizer, apart);
    }

    Inner inner_;
    detail::OwnBatch<X> k_, v_, features_, dfeatures_, dv_;
    std::optional<Inner> sums_;  ///< of the parameters' gradients
    bool gathers_ = false;
};

}  // namespace attend

#pragma once
/// \file
/// Decoders that look at keys step by step, each step knowing where those before it have looked.

#include <concepts>
#include <deque>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/core/any_input.hpp>
#include <attend/prepared.hpp>

namespace attend::inline ATTEND_ABI {

/// Optional arguments of a decoder's step. Borrowed, but for the executor.
template <class X>
struct DecoderOptions {
    Workspace* workspace = nullptr;         ///< scratch; none: the call allocates its own
    detail::ExecutorRef executor = serial;  ///< where threads come from
    Output<X> weights = {};                 ///< sequences × keys of the longest
};
/// And of the way back of one: the gradient of a loss in its weights, besides.
struct DecoderBackwardOptions {
    Workspace* workspace = nullptr;         ///< scratch; none: the call allocates its own
    detail::ExecutorRef executor = serial;  ///< where threads come from
    detail::AnyInput dweights = {};         ///< sequences × keys of the longest
};

/// Steps of a decoder with a location-sensitive attention, over keys that are mapped once:
///
///     LocationDecoder decoder(attention, k, v);
///     for (…) decoder.step(q, out);
///     for (… backwards) decoder.backward(dout, dq);   // through time, the weights' part in later steps included
///     decoder.add_gradients(dk, dv, &gradient);
///     decoder.restart();                              // the next answer on the same keys
///
/// k is n × d_k, v n × d_v, of one head; with `sequences` the keys of several, each of which a step gives one query: q
/// is sequences × d_q, out sequences × d_v. Step t stands at position t. It holds the attention as it was, the keys and
/// what each step was: O(n · (d_k + d_v + hidden)) memory and O(n + d_q + d_v) a step, O(n · (hidden · (features + 1) +
/// taps · features)) operations. Once warm, with a workspace, steps of an answer no longer than those before take
/// nothing from the heap. For float and double. Throws `std::invalid_argument`, and changes nothing, where shapes do
/// not fit; a call that throws from a functor of the attention leaves a decoder to be restarted.
template <class A, class X>
class LocationDecoder {
    static constexpr bool locates = std::derived_from<typename A::ScoreFunctor, LocationScore<X>>;
    static_assert(locates,
                  "attend: a LocationDecoder needs a score that knows a history, in the scalar of the keys: "
                  "LocationSensitiveAttention or coverage_attention");
    static_assert(std::is_same_v<Compute<X>, X>, "attend: a LocationDecoder takes keys of float or double");

public:
    /// Copies the attention, the keys and the values, and maps the keys.
    template <detail::Dense Key, detail::Dense V>
    LocationDecoder(const A& attention, const Key& k, const V& v, const detail::KeptSequences& sequences = {})
        : attention_(attention),
          inner_(detail::PreparedScore<typename A::ScoreFunctor>(attention.score(), k.cols()), attention.modifiers,
                 attention.mask, attention.normalizer, attention.engine),
          sums_(zero_gradient(inner_)),
          k_(k),
          v_(v) {
        static_assert(std::is_same_v<typename Key::Scalar, X> && std::is_same_v<typename V::Scalar, X>,
                      "attend: keys and values of a decoder must have its scalar type");
        if constexpr (locates) prepare(sequences);
    }

    /// How many steps have been taken.
    Index steps() const { return taken_; }
    /// The weights of the latest, sequences × keys of the longest. Throws before the first.
    const RowMatrix<X>& weights() const {
        detail::require(taken_ > 0, "weights: the decoder has taken no step");
        return steps_[static_cast<std::size_t>(taken_ - 1)].weights;
    }

    /// Forgets the steps, and what has been gathered of their gradients.
    void restart() {
        taken_ = open_ = 0;
        clear_gathered();
    }

    /// The next step: writes the output of one query for each sequence.
    template <detail::Dense Q>
    void step(const Q& q, Output<X> out, DecoderOptions<X> options = {}) {
        static_assert(std::is_same_v<typename Q::Scalar, X>, "attend: q must have the scalar type of the decoder");
        detail::require(open_ == taken_, "step: the way back has begun: restart the decoder");
        check_query(q.rows(), q.cols(), "q", attention_.query_width());
        detail::require(static_cast<bool>(out), "the output out must be given");
        out.check("out", 1, 1, sequences(), v_.cols());
        options.weights.check("weights", 1, 1, sequences(), longest());
        detail::require_apart(detail::Place(options.weights, "weights"), detail::Place(out, "out"));
        if (static_cast<std::size_t>(taken_) == steps_.size()) steps_.emplace_back();
        Step& now = steps_[static_cast<std::size_t>(taken_)];
        now.q = q;
        remember(now);
        look(now);
        inner_(now.q, located_keys_, v_, now.out,
               {.workspace = options.workspace,
                .executor = options.executor,
                .lse = now.lse,
                .weights = now.weights,
                .query_offset = taken_,
                .sequences = offsets(query_offsets_),
                .key_sequences = offsets(key_offsets_)});
        copy(now.out, out), copy(now.weights, options.weights);
        open_ = ++taken_;
    }

    /// The way back of the latest step that has not gone it yet: given the gradient of its output, adds that of its
    /// query, and gathers those of keys, values and parameters until `add_gradients`.
    template <detail::Dense DOut>
    void backward(const DOut& dout, Output<X> dq, DecoderBackwardOptions options = {}) {
        static_assert(std::is_same_v<typename DOut::Scalar, X>,
                      "attend: dout must have the scalar type of the decoder");
        detail::require(open_ > 0, "backward: all steps that were taken have gone back");
        check_query(dout.rows(), dout.cols(), "dout", v_.cols());
        detail::require(static_cast<bool>(dq), "the gradient dq must be given");
        dq.check("dq", 1, 1, sequences(), attention_.query_width());
        const Step& now = steps_[static_cast<std::size_t>(open_ - 1)];
        take_dweights(options.dweights);
        dout_ = dout;
        look(now);
        dlocated_keys_.setZero(k_.rows(), hidden());
        inner_.backward(now.q, located_keys_, v_, now.out, now.lse, dout_, dq, dlocated_keys_, dv_,
                        {.workspace = options.workspace,
                         .executor = options.executor,
                         .gradient = &sums_,
                         .dweights = dweights_,
                         .query_offset = open_ - 1,
                         .sequences = offsets(query_offsets_),
                         .key_sequences = offsets(key_offsets_)});
        look_back(now);
        --open_;
    }

    /// Adds what has been gathered to the gradients of k, of v and, where one is given, of the attention; then nothing
    /// is gathered any more. Empty gradients are resized and start at 0.
    void add_gradients(Output<X> dk, Output<X> dv, A* gradient = nullptr) {
        detail::require(dk && dv, "the gradients dk and dv must be given");
        dk.check("dk", 1, 1, k_.rows(), k_.cols()), dv.check("dv", 1, 1, v_.rows(), v_.cols());
        detail::require_apart(detail::Place(dk, "dk"), detail::Place(dv, "dv"));
        if (gradient != nullptr) detail::check_gradient(attention_, *gradient, detail::apart_from(dk, dv));
        auto& of_score = static_cast<typename A::ScoreFunctor&>(sums_.score());
        auto to_k = rows_of(dk, k_.rows(), k_.cols());
        auto to_v = rows_of(dv, v_.rows(), v_.cols());
        attention_.score().map_keys_backward(k_, dmapped_, to_k, &of_score);
        to_v += dv_;
        if (gradient != nullptr) {
            detail::add_parameters(of_score, gradient->score());
            detail::add_parameters(sums_.modifiers, gradient->modifiers);
            detail::add_parameters(sums_.normalizer, gradient->normalizer);
        }
        clear_gathered();
    }

private:
    using Inner =
        Attention<detail::PreparedScore<typename A::ScoreFunctor>, typename A::ModifierChain,
                  std::remove_cvref_t<decltype(A::mask)>, typename A::NormalizerFunctor, typename A::EngineType>;
    struct Step {
        RowMatrix<X> q, out, lse, weights;
        RowMatrix<X> history;  ///< what it knew, sequences × keys of the longest
    };

    void prepare(const detail::SequencesRef& sequences) {
        const auto given = sequences.offsets();
        key_offsets_.assign(given.begin(), given.end());
        if (key_offsets_.empty()) key_offsets_ = {0, k_.rows()};
        detail::require(k_.rows() == v_.rows(), detail::named("k", k_.rows(), k_.cols()), " and ",
                        detail::named("v", v_.rows(), v_.cols()), " must have one row each for every key");
        detail::require(key_offsets_.back() == k_.rows(), "sequences must end at the ", k_.rows(), " rows of ",
                        detail::named("k", k_.rows(), k_.cols()), ", not at ", key_offsets_.back());
        for (std::size_t s = 0; s < key_offsets_.size(); ++s) query_offsets_.push_back(static_cast<Index>(s));
        attention_.score().check({.d_q = attention_.query_width(), .d_k = k_.cols()});
        mapped_.resize(k_.rows(), hidden());
        attention_.score().map_keys(k_, mapped_);
        dmapped_.setZero(k_.rows(), hidden()), dv_.setZero(v_.rows(), v_.cols());
        located_.resize(attention_.location_weight.rows(), k_.rows());
    }
    Index sequences() const { return static_cast<Index>(key_offsets_.size()) - 1; }
    Index hidden() const { return attention_.score_weight.size(); }
    Index longest() const { return offsets(key_offsets_).longest(); }
    static detail::SequencesRef offsets(const std::vector<Index>& of) {
        return detail::SequencesRef(std::span<const Index>(of));
    }
    static auto rows_of(Output<X>& output, Index rows, Index columns) {
        const auto view = output.as(1, 1, rows, columns);
        return detail::Slice<X>(view.data, view.rows, view.columns, {view.row_stride, view.column_stride});
    }
    static void copy(const RowMatrix<X>& from, Output<X>& to) {
        if (to) rows_of(to, from.rows(), from.cols()) = from;
    }
    void check_query(Index rows, Index columns, std::string_view name, Index width) const {
        if (rows != sequences() || columns != width)
            detail::refuse(detail::named(name, rows, columns), " must be ", sequences(), "x", width,
                           ": a row for each sequence");
    }

    /// What a step knows of those before it.
    void remember(Step& now) const {
        now.history.setZero(sequences(), longest());
        if (taken_ == 0) return;
        const Step& before = steps_[static_cast<std::size_t>(taken_ - 1)];
        now.history = before.weights;
        if (attention_.history == History::sum) now.history += before.history;
    }
    /// The keys as a step sees them, mapped and with what the history adds.
    void look(const Step& step) {
        located_keys_ = mapped_;
        for_each_sequence([&](Index s, Index begin, Index keys) {
            attention_.locate(step.history.row(s).data(), keys, located_.middleCols(begin, keys));
        });
        detail::add_row_products<X>(located_.transpose(), attention_.location_weight, located_keys_);
    }
    /// From the gradient of these keys to those of the keys that are mapped once, of the history and of its parameters.
    void look_back(const Step& step) {
        auto& gradient = static_cast<LocationScore<X>&>(sums_.score());
        dmapped_ += dlocated_keys_;
        detail::add_product(gradient.location_weight, located_, dlocated_keys_, serial);
        dlocated_.setZero(located_.rows(), located_.cols());
        auto dlocated = dlocated_.transpose();
        detail::add_row_products<X>(dlocated_keys_, attention_.location_weight.transpose(), dlocated);
        if (attention_.history == History::previous || open_ == taken_) carried_.setZero(sequences(), longest());
        for_each_sequence([&](Index s, Index begin, Index keys) {
            attention_.locate_backward(step.history.row(s).data(), keys, dlocated_.middleCols(begin, keys),
                                       carried_.row(s).data(), gradient);
        });
    }
    /// The gradient of a step's weights: what later steps made of them, and what is given.
    void take_dweights(const detail::AnyInput& given) {
        const bool carries = open_ < taken_;
        if (given) {
            const auto view = given.template as<X>("dweights");
            if (view.sequences != 1 || view.heads != 1 || view.rows != sequences() || view.columns != longest())
                detail::refuse(detail::named("dweights", view.rows, view.columns), " must be ", sequences(), "x",
                               longest());
            dweights_ =
                detail::Slice<const X>(view.data, view.rows, view.columns, {view.row_stride, view.column_stride});
        } else {
            dweights_.setZero(sequences(), longest());
        }
        if (carries) dweights_ += carried_;
    }
    template <class F>
    void for_each_sequence(F&& f) const {
        for (Index s = 0; s < sequences(); ++s)
            f(s, key_offsets_[static_cast<std::size_t>(s)], offsets(key_offsets_).length(s));
    }
    void clear_gathered() {
        dmapped_.setZero(), dv_.setZero();
        const auto clear = [](const detail::ParameterName&, auto& matrix) { matrix.setZero(); };
        detail::walk_parameters(sums_, {}, clear);
    }

    A attention_;
    Inner inner_, sums_;  ///< on keys as features, and the sums of its parameters' gradients
    RowMatrix<X> k_, v_, mapped_, dmapped_, dv_;
    std::vector<Index> key_offsets_, query_offsets_;
    std::deque<Step> steps_;  ///< at least as many as were taken; none moves, so that a step may be asked of another
    Index taken_ = 0;
    Index open_ = 0;                             ///< of them have not gone back
    RowMatrix<X> located_, dlocated_;            ///< features × keys
    RowMatrix<X> located_keys_, dlocated_keys_;  ///< keys × hidden
    RowMatrix<X> dout_, dweights_, carried_;
};
/// Of the attention and of the keys' scalar: n × d_k, copied.
template <class A, detail::Dense Key, class... Others>
LocationDecoder(const A&, const Key&, const Others&...) -> LocationDecoder<A, typename Key::Scalar>;

}  // namespace attend

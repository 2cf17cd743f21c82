#pragma once
/// \file
/// An attention as a value, and its calls.

#include <concepts>
#include <type_traits>
#include <utility>

#include <attend/call/call_types.hpp>
#include <attend/core/compute_form.hpp>
#include <attend/core/concepts.hpp>
#include <attend/core/operands.hpp>
#include <attend/core/parameters.hpp>
#include <attend/engine/fastest.hpp>
#include <attend/kernel/run.hpp>
#include <attend/mask/algebra.hpp>
#include <attend/modifier/chain.hpp>
#include <attend/softmax/attention_state.hpp>
#include <attend/softmax/softmax.hpp>

namespace attend::inline ATTEND_ABI {

/// The normalizer of an attention to which none was given.
struct DefaultSoftmax : Softmax {};

template <class A, class X>
class Prepared;  // prepared.hpp

template <Score S, class M, Mask K, Normalizer N, class E = Fastest>
struct Attention;

namespace detail {

template <Score S, class M, Mask K, Normalizer N, class E>
struct ComputeFormOf<Attention<S, M, K, N, E>> {
    using type = Attention<ComputeForm<S>, ComputeForm<M>, K, ComputeForm<N>, E>;
};

}  // namespace detail

/// softmax(modified, masked scores) · V, or with another normalizer: a plain value. Its parts are members, and the
/// members of its score (`query_weight`, `scale`, …) are its own.
///
/// Operands are dense Eigen expressions of one scalar type and any storage order, `heads(x, n)` or strided views: q is
/// n_q × d_q, k is n_kv × d_k, v is n_kv × d_v for every head of every sequence. Throws `std::invalid_argument`, naming
/// the operands and their shapes, before anything is written. O(n_q · n_kv · d) operations, O(n · d) memory.
template <Score S, class M, Mask K, Normalizer N, class E>
struct Attention : S {
    static constexpr Kind kind = Kind::attention;  ///< what `>>` and layers tell it by
    using ScoreFunctor = S;                        ///< the score's type
    using ModifierChain = M;                       ///< `Modifiers<…>`
    using NormalizerFunctor = N;                   ///< the normalizer's type
    using EngineType = E;                          ///< the engine's type

    ATTEND_NO_UNIQUE_ADDRESS M modifiers{};   ///< in their order, none or more
    ATTEND_NO_UNIQUE_ADDRESS K mask{};        ///< `Everything` where none was given
    ATTEND_NO_UNIQUE_ADDRESS N normalizer{};  ///< `DefaultSoftmax` where none was given
    ATTEND_NO_UNIQUE_ADDRESS E engine{};      ///< `Fastest` where none was given

    /// All parts as they are by default.
    constexpr Attention()
        requires(std::default_initializable<S> && std::default_initializable<M> && std::default_initializable<K> &&
                 std::default_initializable<N> && std::default_initializable<E>)
    = default;
    /// Those of the score: `AdditiveAttention<float>(d_q, d_k, hidden, seed)`.
    using S::S;
    /// Of its parts, which it takes over.
    /// @{
    constexpr explicit Attention(S score) : S(std::move(score)) {}
    constexpr Attention(S score, M modifiers_, K mask_, N normalizer_, E engine_ = {})
        : S(std::move(score)),
          modifiers(std::move(modifiers_)),
          mask(std::move(mask_)),
          normalizer(std::move(normalizer_)),
          engine(std::move(engine_)) {}
    /// @}

    /// The score by itself.
    /// @{
    constexpr S& score() { return *this; }
    constexpr const S& score() const { return *this; }
    /// @}

    static void parameters(auto& self, auto&& visit) {
        visit("", self.score());
        visit("modifiers", self.modifiers);
        visit("mask", self.mask);
        visit("normalizer", self.normalizer);
    }
    auto spelled(const auto& say) const { return say.join(" >> ", score(), modifiers, mask, normalizer, engine); }

    /// Whether a parameter is a number of 16 bits.
    static constexpr bool any_half = detail::HalfPart<S> || M::any_half || detail::HalfPart<N>;
    /// The attention with every parameter in the scalar that it computes in: what gradients of 16-bit parameters are
    /// summed up in.
    auto compute_form() const {
        return ComputeForm<Attention>(detail::compute_form(score()), modifiers.compute_form(), mask,
                                      detail::compute_form(normalizer), engine);
    }
    /// The way back.
    void round_from(const auto& form) {
        detail::round_into(score(), form.score());
        modifiers.round_from(form.modifiers);
        detail::round_into(normalizer, form.normalizer);
    }

    /// Returns the output, n_q × d_v: sequences below each other, heads side by side, in the storage order of q.
    /// @{
    template <detail::OperandLike Q, detail::OperandLike Key, detail::OperandLike V>
    ATTEND_ALWAYS_INLINE auto operator()(const Q& q, const Key& k, const V& v) const {
        if constexpr (detail::operands_go_together<E, Q, Key, V>()) {
            detail::ReturnedOutput<Q, V> out;
            (*this)(q, k, v, out);
            return out;
        }
    }
    template <detail::OperandLike Q, detail::OperandLike Key, detail::OperandLike V>
    ATTEND_ALWAYS_INLINE auto operator()(const Q& q, const Key& k, const V& v,
                                         ForwardOptions<Compute<detail::ScalarOf<Q>>> options) const {
        if constexpr (detail::operands_go_together<E, Q, Key, V>()) {
            detail::ReturnedOutput<Q, V> out;
            (*this)(q, k, v, out, options);
            return out;
        }
    }
    /// @}

    /// Writes the output to `out`, n_q × d_v, and what the options ask for. An empty `out` is resized.
    /// @{
    template <detail::OperandLike Q, detail::OperandLike Key, detail::OperandLike V>
    ATTEND_ALWAYS_INLINE void operator()(const Q& q, const Key& k, const V& v, Output<detail::ScalarOf<Q>> out,
                                         ForwardOptions<Compute<detail::ScalarOf<Q>>> options) const {
        if constexpr (detail::operands_go_together<E, Q, Key, V>()) run(q, k, v, out, options);
    }
    template <detail::OperandLike Q, detail::OperandLike Key, detail::OperandLike V>
    ATTEND_ALWAYS_INLINE void operator()(const Q& q, const Key& k, const V& v, Output<detail::ScalarOf<Q>> out) const {
        if constexpr (detail::operands_go_together<E, Q, Key, V>()) {
            if constexpr (is_tiny<Q, Key, V>()) {
                if (detail::fused::run_fixed<detail::ScalarOf<Q>>(*this, q, k, v, out)) return;
            }
            run(q, k, v, out);
        }
    }
    /// @}
    /// The same on a source of keys and values, whose sequences and heads are the call's: see source/source.hpp.
    /// @{
    template <detail::OperandLike Q, detail::GivenAsSource Source>
    auto operator()(const Q& q, const Source& source, ForwardOptions<Compute<detail::ScalarOf<Q>>> options = {}) const {
        if constexpr (detail::source_fits<E, Q, Source>()) {
            RowMatrix<detail::ScalarOf<Q>> out;
            (*this)(q, source, out, std::move(options));
            return out;
        }
    }
    template <detail::OperandLike Q, detail::GivenAsSource Source>
    void operator()(const Q& q, const Source& source, Output<detail::ScalarOf<Q>> out,
                    ForwardOptions<Compute<detail::ScalarOf<Q>>> options = {}) const {
        if constexpr (detail::source_fits<E, Q, Source>()) {
            if constexpr (requires { source.attend(*this, q, out, options); }) {
                if (source.attend(*this, q, out, options)) return;
            }
            const detail::Operand q_operand(q);
            detail::run_forward(*this,
                                detail::Problem<detail::ScalarOf<Q>>(q_operand.view(), source,
                                                                     {options.query_offset, options.query_positions},
                                                                     options.sequences, options.dropout),
                                source, out, options);
        }
    }
    /// @}
    /// The output and the LSE over these keys, to be merged with those over others: see softmax/attention_state.hpp. Of
    /// attentions by softmax; an LSE in the options is left out.
    /// @{
    template <detail::OperandLike Q, detail::OperandLike Key, detail::OperandLike V>
    auto state(const Q& q, const Key& k, const V& v, ForwardOptions<Compute<detail::ScalarOf<Q>>> options = {}) const {
        AttentionState<detail::ScalarOf<Q>> state;
        if constexpr (detail::operands_go_together<E, Q, Key, V>() && detail::has_states<N>()) {
            options.lse = state.lse;
            (*this)(q, k, v, state.output, std::move(options));
        }
        return state;
    }
    template <detail::OperandLike Q, detail::GivenAsSource Source>
    auto state(const Q& q, const Source& source, ForwardOptions<Compute<detail::ScalarOf<Q>>> options = {}) const {
        AttentionState<detail::ScalarOf<Q>> state;
        if constexpr (detail::source_fits<E, Q, Source>() && detail::has_states<N>()) {
            options.lse = state.lse;
            (*this)(q, source, state.output, std::move(options));
        }
        return state;
    }
    /// @}

    // What is no operand is refused in words, also beside options in braces.
    template <class Q, class Key, class V, class... Rest>
        requires(!detail::AllOperands<Q, Key, V> && !detail::GivenAsSource<Key>)
    void operator()(const Q&, const Key&, const V&, Rest&&...) const {
        detail::refuse_what_is_no_operand<Q, Key, V>();
    }
    template <class Q, detail::GivenAsSource Source, class... Rest>
        requires(!detail::OperandLike<Q>)
    void operator()(const Q&, const Source&, Rest&&...) const {
        detail::refuse_what_is_no_operand<Q, Q, Q>();
    }
    template <class Q, class Key, class V>
        requires(!detail::AllOperands<Q, Key, V> && !detail::GivenAsSource<Key>)
    void operator()(const Q&, const Key&, const V&,
                    ForwardOptions<Compute<typename detail::FirstScalar<Q, Key, V>::Scalar>>) const {
        detail::refuse_what_is_no_operand<Q, Key, V>();
    }
    template <class Q, class Key, class V, class Out>
        requires(!detail::AllOperands<Q, Key, V> && !detail::GivenAsSource<Key>)
    void operator()(const Q&, const Key&, const V&, Out&&,
                    ForwardOptions<Compute<typename detail::FirstScalar<Q, Key, V>::Scalar>>) const {
        detail::refuse_what_is_no_operand<Q, Key, V>();
    }

    /// Given `dout`, the gradient of a loss in the output, adds the gradients of q, k and v, and with `.gradient` those
    /// of the parameters. `out` and `lse` are what the forward call gave. Empty gradients are resized and start at 0.
    /// Those of 16-bit operands are rounded to their scalar once a call, or are float, all of them, and not rounded.
    /// The gradients of 16-bit parameters are summed up in float, with copies of these that such a call takes from the
    /// heap, and rounded once, or not at all where `.gradient` is the attention's `ComputeForm`.
    template <detail::OperandLike Q, detail::OperandLike Key, detail::OperandLike V, detail::OperandLike Out,
              detail::OperandLike Lse, detail::OperandLike DOut>
    void backward(const Q& q, const Key& k, const V& v, const Out& out, const Lse& lse, const DOut& dout,
                  GradientOutput<detail::ScalarOf<Q>> dq, GradientOutput<detail::ScalarOf<Q>> dk,
                  GradientOutput<detail::ScalarOf<Q>> dv, BackwardOptions<Attention> options = {}) const {
        constexpr bool one_lse = std::is_same_v<detail::ScalarOf<Lse>, Compute<detail::ScalarOf<Q>>>;
        static_assert(one_lse, "attend: lse must have the scalar type that the attention computes in");
        if constexpr (detail::operands_go_together<E, Q, Key, V, Out, DOut>() && one_lse)
            add_gradients(q, k, v, out, lse, dout, dq, dk, dv, options);
    }

    /// The same on a source; its gradients go to `gradients.add(sequence, head, begin, dk, dv)`: see source/source.hpp.
    template <detail::OperandLike Q, detail::GivenAsSource Source, detail::OperandLike Out, detail::OperandLike Lse,
              detail::OperandLike DOut, class KeysInto>
    void backward(const Q& q, const Source& source, const Out& out, const Lse& lse, const DOut& dout,
                  GradientOutput<detail::ScalarOf<Q>> dq, KeysInto&& gradients,
                  BackwardOptions<Attention> options = {}) const {
        using X = detail::ScalarOf<Q>;
        constexpr bool one_lse = std::is_same_v<detail::ScalarOf<Lse>, Compute<X>>,
                       takes_gradients = KeyGradientsOf<std::remove_reference_t<KeysInto>, Compute<X>>;
        static_assert(one_lse, "attend: lse must have the scalar type that the attention computes in");
        static_assert(takes_gradients,
                      "attend: a source's gradients go to void add(Index sequence, Index head, Index begin, const "
                      "RowBlock<T>& dk, const RowBlock<T>& dv), which this lacks");
        if constexpr (detail::operands_go_together<E, Q, Out, DOut>() && detail::source_fits<E, Q, Source>() &&
                      one_lse && takes_gradients) {
            const detail::Operand q_operand(q);
            const detail::Operand out_operand(out);
            const detail::Operand lse_operand(lse);
            const detail::Operand dout_operand(dout);
            const detail::Problem<X> problem(q_operand.view(), source, {options.query_offset, options.query_positions},
                                             options.sequences, options.dropout);
            detail::run_backward(*this, problem, source,
                                 inputs_of(problem, out_operand, lse_operand, dout_operand, options), dq, gradients,
                                 options);
        }
    }

    /// Keys and values made ready for any number of calls: their features are formed once. See prepared.hpp, which to
    /// use this must be included.
    template <detail::OperandLike Key, detail::OperandLike V>
    auto prepare(const Key& k, const V& v, const detail::ExecutorRef& executor = serial) const {
        constexpr bool known = requires { sizeof(Prepared<Attention, detail::ScalarOf<Key>>); };
        static_assert(known, "attend: prepare needs #include <attend/prepared.hpp>");
        if constexpr (known && detail::operands_go_together<E, Key, V>())
            return Prepared<Attention, detail::ScalarOf<Key>>(*this, k, v, executor);
    }

    template <class Key, class V, class... Rest>
        requires(!detail::AllOperands<Key, V, V>)
    void prepare(const Key&, const V&, Rest&&...) const {
        detail::refuse_what_is_no_operand<Key, V, V>();
    }

    /// The scratch memory, in bytes, of a call on operands of scalar X and that shape (of ragged sequences their number
    /// and the longest lengths) by an executor with that `concurrency()`: a `Workspace` of so much, or a fixed buffer
    /// of so much aligned to `Workspace::alignment`, is enough. Throws what the call would throw at such a shape. O(1).
    ///
    /// With softmax, sinks and sigmoid, forward memory does not grow with the keys, but for the partial results of long
    /// rows: where the queries of a key/value head are so few that they make one block, its keys are split, and each
    /// 1024 keys leave a block's output behind. Normalizers that need a row whole hold a block's rows of scores for
    /// each worker. `Pass::weights` needs what `Pass::forward` does, and so do reductions that do not see scores: of
    /// those that do, `Pass::insight`, which holds a tile of them besides. `Pass::backward` holds the gradients of one
    /// head's keys and values for each worker; of fewer than 8 key/value heads more of these, for the chunks that
    /// threads share a head by.
    template <class X = float>
    std::size_t workspace_bytes(const Shape& shape, Index workers = 1, Pass pass = Pass::forward) const {
        return detail::workspace_bytes<X>(*this, shape, workers, pass);
    }

private:
    template <class, class>
    friend class Prepared;

    template <class X>
    static constexpr bool has_tiny_heads =
        detail::fused::Direct<Compute<X>, Attention, X> && detail::fused::Tiny<Compute<X>, Attention, X>;
    /// Whether a call is of one tiny head by its types.
    template <class Q, class Key, class V>
    static consteval bool is_tiny() {
        using Of = detail::Operand<Q>;
        if constexpr (has_tiny_heads<detail::ScalarOf<Q>>) {
            return detail::fused::is_tiny<detail::ScalarOf<Q>>(
                Of::rows_at_compile_time, detail::Operand<Key>::rows_at_compile_time, Of::columns_at_compile_time,
                detail::Operand<V>::columns_at_compile_time);
        } else {
            return false;
        }
    }
    /// A call, with options or without.
    template <class Q, class Key, class V, class... Options>
    ATTEND_NOINLINE void run(const Q& q, const Key& k, const V& v, Output<detail::ScalarOf<Q>>& out,
                             Options&... given) const {
        using X = detail::ScalarOf<Q>;
        const detail::Operand q_operand(q);
        const detail::Operand k_operand(k);
        const detail::Operand v_operand(v);
        const auto with = [&](ForwardOptions<Compute<X>>& options) {
            detail::run_forward(
                *this,
                detail::Problem(q_operand, k_operand, v_operand, {options.query_offset, options.query_positions},
                                options.sequences, options.key_sequences, options.dropout),
                out, options);
        };
        if constexpr (sizeof...(Options) == 0) {
            if constexpr (has_tiny_heads<X>) {
                if (detail::fused::run_if_tiny<X>(*this, q_operand, k_operand, v_operand, out.given(), {}, false, 0))
                    return;
            }
            ForwardOptions<Compute<X>> options;
            with(options);
        } else {
            if constexpr (has_tiny_heads<X>) {
                if ((detail::fused::is_plain(given) && ...) &&
                    (detail::fused::run_if_tiny<X>(*this, q_operand, k_operand, v_operand, out.given(),
                                                   given.lse.given(), static_cast<bool>(given.lse),
                                                   given.query_offset) &&
                     ...))
                    return;
            }
            (with(given), ...);
        }
    }
    template <class X>
    static detail::BackwardInputs<X> inputs_of(const detail::Problem<X>& problem, const auto& out, const auto& lse,
                                               const auto& dout, const BackwardOptions<Attention>& options) {
        return {.out = problem.query_input(out.view(), "out", problem.v.columns),
                .dout = problem.query_input(dout.view(), "dout", problem.v.columns),
                .lse = problem.query_input(lse.view(), "lse", 1),
                .dlse = lse_gradient<Compute<X>>(problem, options.dlse),
                .dweights = weights_gradient<Compute<X>>(problem, options.dweights)};
    }
    template <class T, class X>
    static StridedView<const T> lse_gradient(const detail::Problem<X>& problem, const detail::AnyInput& dlse) {
        if (!dlse) return {};
        detail::require(
            Fold<N>, "dlse: this normalizer is no fold, as softmax is, whose LSE alone has a gradient: leave it out");
        return problem.query_input(dlse.as<T>("dlse"), "dlse", 1);
    }
    template <class T, class X>
    static StridedView<const T> weights_gradient(const detail::Problem<X>& problem, const detail::AnyInput& dweights) {
        if (!dweights) return {};
        return problem.pair_input(dweights.as<T>("dweights"), "dweights");
    }
    template <class Q, class Key, class V, class Out, class Lse, class DOut>
    void add_gradients(const Q& q, const Key& k, const V& v, const Out& out, const Lse& lse, const DOut& dout,
                       GradientOutput<detail::ScalarOf<Q>>& dq, GradientOutput<detail::ScalarOf<Q>>& dk,
                       GradientOutput<detail::ScalarOf<Q>>& dv, const BackwardOptions<Attention>& options,
                       bool* writes = nullptr) const {
        const detail::Operand q_operand(q);
        const detail::Operand k_operand(k);
        const detail::Operand v_operand(v);
        const detail::Operand out_operand(out);
        const detail::Operand lse_operand(lse);
        const detail::Operand dout_operand(dout);
        const detail::Problem problem(q_operand.view(), k_operand.view(), v_operand.view(),
                                      {options.query_offset, options.query_positions}, options.sequences,
                                      options.key_sequences, options.dropout);
        detail::run_backward(*this, problem, inputs_of(problem, out_operand, lse_operand, dout_operand, options), dq,
                             dk, dv, options, writes);
    }
};

}  // namespace attend

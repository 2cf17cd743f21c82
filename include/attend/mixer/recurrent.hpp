#pragma once
/// \file
/// Recurrent mixers: what has been seen is kept in a state of fixed size, which takes in one key and value after the
/// other, and which queries read.

#include <limits>
#include <utility>

#include <attend/mixer/recurrent_cache.hpp>
#include <attend/mixer/recurrent_walk.hpp>

namespace attend::inline ATTEND_ABI {

/// A recurrent mixer as a mixer of many heads and sequences: `recurrent(mixer)`.
///
/// The operands are those of an attention. Each key/value head of each sequence has a state of its own, which the query
/// heads of its group read. Forward: O(n_kv) absorbed and O(heads · n_q) read rows, one state for each worker. Backward
/// goes through the keys from the last to the first and needs the states in between: of a mixer that takes token by
/// token it keeps O(√n_kv) of them for each worker, and absorbs each key twice more; of one that takes chunks it keeps
/// one for each chunk. Tasks are key/value heads of sequences: one head of one sequence is one thread's work. Gradients
/// of parameters are summed up in copies of the mixer, of which there are at most 16.
///
/// With a workspace that has served such a call before, calls use no heap, where the mixer's own functions do not.
template <class M>
class Recurrent {
    template <class... Operands>
    using Scalar = typename detail::FirstScalar<Operands...>::Scalar;

public:
    M mixer{};  ///< what takes the tokens

    Recurrent() = default;
    /// Takes the mixer over.
    constexpr explicit Recurrent(M mixer_) : mixer(std::move(mixer_)) {}

    /// Columns of k for queries of that width.
    Index key_width(Index d_q) const { return detail::key_width(mixer, d_q); }

    static void parameters(auto& self, auto&& visit) { visit("", self.mixer); }
    auto spelled(const auto& say) const { return say("recurrent", mixer); }

    /// Throws what is wrong with a call of this shape. A mixer that does not check shapes itself takes queries and keys
    /// of one width.
    void check(const Shape& shape) const {
        detail::check_part(mixer, shape);
        if constexpr (!requires { mixer.check(shape); }) {
            const Index width = detail::key_width(mixer, shape.d_q);
            if (shape.d_k != width && width == shape.d_q)
                detail::refuse("q and k must have the same width, not ", shape.d_q, " and ", shape.d_k);
            detail::require(shape.d_k == width, "k must have ", width, " columns for the ", shape.d_q, " of q, not ",
                            shape.d_k);
        }
        const StateShape state = mixer.state(shape);
        const auto size = [](Index n) { return static_cast<double>(n); };
        constexpr double most = static_cast<double>(std::numeric_limits<Index>::max() / 64);
        detail::require(state.rows >= 0 && state.columns >= 0 &&
                            size(state.rows) * size(state.columns) * (size(shape.keys) + 2) < most,
                        "recurrent: the mixer's states of ", state.rows, "x", state.columns,
                        " have a negative size, or hold more than any memory");
    }

    /// Writes the output. There are no weights and there is no LSE; see mixer/mixer.hpp.
    template <class Q, class Key, class V>
    void operator()(const Q& q, const Key& k, const V& v, Output<Scalar<Q, Key, V>> out,
                    ForwardOptions<Compute<Scalar<Q, Key, V>>> options = {}) const {
        run(q, k, v, {}, out, options);
    }
    /// The next tokens of the cache's sequences: from the states that it holds on, which become those after these. The
    /// queries of a sequence stand at its latest keys, of which there must be as many, and `query_offset` is left out.
    template <class Q, class Key, class V>
    void operator()(const Q& q, const Key& k, const V& v, RecurrentCache<Compute<Scalar<Q, Key, V>>>& cache,
                    Output<Scalar<Q, Key, V>> out, ForwardOptions<Compute<Scalar<Q, Key, V>>> options = {}) const {
        const detail::KeptTokens<Compute<Scalar<Q, Key, V>>> carried{&cache, &cache, nullptr};
        run(q, k, v, carried, out, options);
    }

    /// Given `dout`, the gradient of a loss in the output, adds the gradients of q, k and v, and with `.gradient` those
    /// of the parameters. `lse` is an empty matrix. Empty gradients are resized and start at 0.
    /// Throws, as every call, where operands do not fit.
    template <class Q, class Key, class V, class Out, class Lse, class DOut>
    void backward(const Q& q, const Key& k, const V& v, const Out& out, const Lse& lse, const DOut& dout,
                  Output<Scalar<Q, Key, V>> dq, Output<Scalar<Q, Key, V>> dk, Output<Scalar<Q, Key, V>> dv,
                  BackwardOptions<Recurrent> options = {}) const {
        if constexpr (detail::are_operands<Q, Key, V, Out, DOut>() && detail::are_operands<Lse>()) {
            const detail::Operand lse_operand(lse);
            const auto lse_view = lse_operand.view();
            detail::require(detail::is_empty(lse_view), detail::named("lse", lse_view),
                            " must be empty: this mixer has no weights whose log-sum-exp it could be");
            run_backward(q, k, v, {}, &out, dout, dq, dk, dv, options);
        }
    }
    /// The same of a call on a cache: `past` is that before the call, and `dstates`, a cache of the same shape, comes
    /// as the gradients of the states after it, or 0, and leaves as those of the states before.
    template <class Q, class Key, class V, class DOut>
    void backward(const Q& q, const Key& k, const V& v, const RecurrentCache<Compute<Scalar<Q, Key, V>>>& past,
                  const DOut& dout, Output<Scalar<Q, Key, V>> dq, Output<Scalar<Q, Key, V>> dk,
                  Output<Scalar<Q, Key, V>> dv, RecurrentCache<Compute<Scalar<Q, Key, V>>>& dstates,
                  BackwardOptions<Recurrent> options = {}) const {
        const detail::KeptTokens<Compute<Scalar<Q, Key, V>>> carried{&past, nullptr, &dstates};
        run_backward(q, k, v, carried, static_cast<const DOut*>(nullptr), dout, dq, dk, dv, options);
    }

    /// A cache for calls of that shape, of which it reads the sequences, heads and widths. Throws where the mixer does
    /// not take it.
    template <class T = float>
    RecurrentCache<T> cache(const Shape& shape) const {
        check(shape);
        return RecurrentCache<T>({.heads = shape.kv_heads, .state = mixer.state(shape), .sequences = shape.sequences});
    }

    /// The scratch memory, in bytes, of a call of that shape on operands of X, as `Attention::workspace_bytes`. Throws
    /// what the call would. O(1).
    template <class X = float>
    std::size_t workspace_bytes(const Shape& shape, Index workers = 1, Pass pass = Pass::forward) const {
        detail::require(workers > 0, "workspace_bytes: there must be at least one worker");
        detail::check_reach(shape);
        check(shape);
        return scratch_bytes<X>(shape, workers, pass);
    }

private:
    template <class T>
    static consteval bool fits() {
        constexpr bool complete = RecurrentMixer<M, float> || RecurrentMixer<M, double>,
                       of_type = RecurrentMixer<M, Compute<T>>;
        static_assert(complete || of_type,
                      "attend: a recurrent mixer has causal, state, absorb, read, absorb_backward and read_backward, "
                      "as mixer/mixer.hpp says");
        static_assert(of_type || !complete,
                      "attend: this recurrent mixer does not fit numbers of the call's type: are its functions of "
                      "other ones?");
        return of_type;
    }
    template <class Q, class Key, class V, class T = Scalar<Q, Key, V>>
    void run(const Q& q, const Key& k, const V& v, const detail::KeptTokens<Compute<T>>& kept, Output<T>& out,
             const ForwardOptions<Compute<T>>& options) const {
        if constexpr (detail::are_operands<Q, Key, V>() && fits<T>()) {
            const detail::Operand q_operand(q);
            const detail::Operand k_operand(k);
            const detail::Operand v_operand(v);
            detail::check_weights<Recurrent>(options.lse, options.weights, options.insight, options.dropout);
            const detail::Problem problem =
                problem_of(q_operand, k_operand, v_operand, kept, options, options.query_positions);
            detail::check_outputs(problem, out, options);
            kept.check_outputs(detail::Place(out, "out"));
            kept.check_inputs(detail::Place(problem.q, "q"), detail::Place(problem.k, "k"),
                              detail::Place(problem.v, "v"));
            detail::with_scratch(
                options.workspace, scratch_bytes<T>(problem.shape, options.executor.concurrency(), Pass::forward),
                [&](std::byte* memory) {
                    const StridedView<T> y = problem.query_output(out, problem.v.columns);
                    detail::for_each_recurrent_head(
                        mixer, problem, kept.states(), detail::recurrent_tasks(problem.shape), Pass::forward, memory,
                        options.executor, [&](const auto& walk, Index) { walk.forward(y); });
                });
            kept.advance(problem);
        }
    }
    template <class Q, class Key, class V, class Out, class DOut, class T = Scalar<Q, Key, V>>
    void run_backward(const Q& q, const Key& k, const V& v, const detail::KeptTokens<Compute<T>>& kept, const Out* out,
                      const DOut& dout, Output<T>& dq, Output<T>& dk, Output<T>& dv,
                      const BackwardOptions<Recurrent>& options) const {
        if constexpr (detail::are_operands<Q, Key, V, DOut>() && fits<T>()) {
            const detail::Operand q_operand(q);
            const detail::Operand k_operand(k);
            const detail::Operand v_operand(v);
            const detail::Operand dout_operand(dout);
            detail::require(!options.dlse, "dlse: this mixer has no LSE: leave it out");
            detail::require(!options.dweights, "dweights: this mixer has no weights: leave them out");
            detail::check_weights<Recurrent, float>({}, {}, {}, options.dropout);
            const detail::Problem problem =
                problem_of(q_operand, k_operand, v_operand, kept, options, options.query_positions);
            detail::BackwardInputs<T> inputs{
                .out = {},
                .dout = problem.query_input(dout_operand.view(), "dout", problem.v.columns),
                .lse = {},
                .dlse = {},
                .dweights = {}};
            kept.check_outputs(detail::Place(dq, "dq"), detail::Place(dk, "dk"), detail::Place(dv, "dv"));
            kept.check_inputs(detail::Place(problem.q, "q"), detail::Place(problem.k, "k"),
                              detail::Place(problem.v, "v"), detail::Place(inputs.dout, "dout"));
            if (out == nullptr) return add_gradients(problem, inputs, kept.states(), dq, dk, dv, options);
            const detail::Operand out_operand(*out);
            inputs.out = problem.query_input(out_operand.view(), "out", problem.v.columns);
            add_gradients(problem, inputs, kept.states(), dq, dk, dv, options);
        }
    }
    template <class Q, class Key, class V, class C>
    auto problem_of(const detail::Operand<Q>& q, const detail::Operand<Key>& k, const detail::Operand<V>& v,
                    const detail::KeptTokens<C>& kept, const auto& options, const QueryPositions& positions) const {
        detail::require(positions.get().empty(),
                        "query_positions: this mixer reads states in the order of queries: leave them out");
        detail::Problem problem(q, k, v, options.query_offset, options.sequences, options.key_sequences,
                                options.dropout);
        check(problem.shape);
        kept.check(problem, mixer.state(problem.shape));
        return problem;
    }
    template <class X>
    void add_gradients(const detail::Problem<X>& problem, const detail::BackwardInputs<X>& inputs,
                       const detail::CarriedStates<Compute<X>>& states, Output<X>& dq, Output<X>& dk, Output<X>& dv,
                       const BackwardOptions<Recurrent>& options) const {
        detail::require(dq && dk && dv, "the gradients dq, dk and dv must be given");
        detail::check_outputs(*this, problem, inputs, options, dq, dk, dv);
        M* const gradient = options.gradient == nullptr ? nullptr : &options.gradient->mixer;
        const bool keeps = gradient != nullptr && options.workspace != nullptr;
        detail::MixerSums<M> own;
        detail::MixerSums<M>& sums = keeps ? options.workspace->template kept<detail::MixerSums<M>>() : own;
        const Index tasks = detail::recurrent_tasks(problem.shape);
        const Index groups = gradient == nullptr ? tasks : sums.start(*gradient, tasks);
        detail::with_scratch(
            options.workspace, scratch_bytes<X>(problem.shape, options.executor.concurrency(), Pass::backward),
            [&](std::byte* memory) {
                const detail::RecurrentGradients<X> gradients{.dout = inputs.dout,
                                                              .dq = problem.query_output(dq, problem.q.columns),
                                                              .dk = problem.key_output(dk, problem.k.columns),
                                                              .dv = problem.key_output(dv, problem.v.columns)};
                detail::for_each_recurrent_head(
                    mixer, problem, states, groups, Pass::backward, memory, options.executor,
                    [&](const auto& walk, Index group) { walk.backward(gradients, sums.of(group, gradient)); });
            });
        if (gradient != nullptr) sums.add_up(*gradient);
    }
    template <class X>
    std::size_t scratch_bytes(const Shape& shape, Index workers, Pass pass) const {
        return detail::RecurrentWalk<M, X>::Scratch::bytes(mixer, shape, pass) * static_cast<std::size_t>(workers);
    }
};

/// A recurrent mixer, written for one head of one sequence, as what layers take: with heads, batches and threads.
template <class M>
constexpr Recurrent<M> recurrent(M mixer) {
    return Recurrent<M>(std::move(mixer));
}

}  // namespace attend

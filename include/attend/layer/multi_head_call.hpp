#pragma once
/// \file
/// A multi-head block around its mixer: the way of a call.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/layer/multi_head_checks.hpp>
#include <attend/mixer/mixer.hpp>

namespace attend::inline ATTEND_ABI {

template <class T, class M>
class MultiHeadAttention;  // multi_head.hpp

namespace detail {

template <class T, class M>
struct ComputeFormOf<MultiHeadAttention<T, M>> {
    using type = MultiHeadAttention<Compute<T>, ComputeForm<M>>;
};

/// The mixer's part of a block's gradient, if there is one.
template <class Block>
auto attention_of(Block* gradient) {
    return gradient == nullptr ? nullptr : &gradient->attention;
}

}  // namespace detail

/// The projections with a mixer between them, whatever its keys and values stand in: `MultiHeadAttention` is the face
/// of it. Of the mixer it needs what mixer/mixer.hpp says.
template <class T, class M>
class MultiHeadCall : public MultiHeadChecks<T> {
    using Checks = MultiHeadChecks<T>;

public:
    using Tape = MultiHeadTape<T>;        ///< what a forward call records
    using Options = MultiHeadOptions<T>;  ///< of a forward call
    /// Of a backward call.
    using BackwardOptions = MultiHeadBackwardOptions<MultiHeadAttention<T, M>>;

    std::remove_const_t<M> attention;  ///< the mixer, an attention or another one

    using Checks::shape;

    /// The scratch memory, in bytes, of the block's calls of that shape, of which it reads the numbers of sequences,
    /// queries and keys (of ragged sequences the longest lengths): what a `Workspace`, or a buffer aligned to
    /// `Workspace::alignment`, must hold, as `Attention::workspace_bytes`. For steps over a cache that grows give its
    /// capacity as keys, and the most tokens that a step takes as queries: enough for fewer of both. O(queries). The
    /// rest of a call's memory is its tape's.
    std::size_t workspace_bytes(const Shape& call, Index workers = 1, Pass pass = Pass::forward) const {
        constexpr bool tells = requires { attention.template workspace_bytes<T>(call, workers, pass); };
        static_assert(tells, "attend: workspace_bytes of a block asks that of its mixer, which this one lacks");
        if constexpr (tells) {
            Shape whole = call;
            whole.heads = shape().heads, whole.kv_heads = shape().kv_heads;
            whole.d_q = whole.d_v = shape().d_head, whole.d_k = shape().d_key;
            std::size_t most = attention.template workspace_bytes<T>(whole, workers, pass);
            while (--whole.queries > 0)  // fewer may take more: their keys are cut into more parts
                most = std::max(most, attention.template workspace_bytes<T>(whole, workers, pass));
            return most;
        }
    }

    static void parameters(auto& self, auto&& visit) {
        Checks::parameters(self, visit);
        visit("attention", self.attention);
    }

protected:
    using typename Checks::Rows;
    static constexpr bool mixes = Mixer<M, T>;
    static_assert(mixes,
                  "attend: a block needs a mixer, as mixer/mixer.hpp says: an attention, or recurrent(mixer) of one "
                  "that absorbs and reads");

    MultiHeadCall(const MultiHeadShape& block, std::remove_const_t<M>&& attention_, std::uint64_t seed)
        : Checks(block, seed, [&](Index d_head) { return detail::key_width(attention_, d_head); }),
          attention(std::move(attention_)) {}

    /// What the mixer will be called on, checked before its operands are computed.
    detail::Problem<T> problem_of(Index rows, Index keys, Index query_offset, const detail::SequencesRef& sequences,
                                  const detail::SequencesRef& key_sequences, const Dropout& dropout) const {
        static constexpr T somewhere{};
        const StridedView<const T> q{&somewhere, 1, shape().heads, rows, shape().d_head},
            k{&somewhere, 1, shape().kv_heads, keys, shape().d_key},
            v{&somewhere, 1, shape().kv_heads, keys, shape().d_head};
        const detail::Problem<T> problem(q, k, v, query_offset, sequences, key_sequences, dropout);
        detail::check_mixer(attention, problem);
        return problem;
    }
    /// The same on a source of keys and values.
    template <class Source>
    detail::Problem<T> problem_of(Index rows, const Source& source, Index query_offset,
                                  const detail::SequencesRef& sequences, const Dropout& dropout) const {
        static constexpr T somewhere{};
        const StridedView<const T> q{&somewhere, 1, shape().heads, rows, shape().d_head};
        const detail::Problem<T> problem(q, source, query_offset, sequences, dropout);
        if (problem.k.heads != shape().kv_heads || problem.v.columns != shape().d_head)
            detail::refuse("the source has ", problem.k.heads, " heads with values of width ", problem.v.columns,
                           ", but the block has ", shape().kv_heads, " key/value heads of width ", shape().d_head);
        detail::check_source_call(attention, problem.part_shape(), problem.q, problem.k);
        return problem;
    }
    /// Throws where an output shares memory with what the tape holds or with a parameter.
    template <class S>
    void check_apart(const Output<S>& output, std::string_view name, const Tape& tape) const {
        Checks::check_apart(output, name, tape);
        const auto apart = [&](const detail::ParameterName&, const auto& matrix) {
            if constexpr (detail::DenseMemory<decltype(matrix)>)
                Checks::check_apart(output, name, matrix, "a parameter of the block");
        };
        detail::walk_parameters(attention, {}, apart);
    }
    void check_forward(Index rows, Index keys, const Output<T>& y, const Options& options,
                       const detail::SequencesRef& key_sequences, const Tape& tape) const {
        this->check_parameters();
        detail::check(options.dropout);
        detail::check_weights<M, Compute<T>>({}, options.weights, options.insight, options.dropout);
        check_outputs(problem_of(rows, keys, options.query_offset, options.sequences, key_sequences, options.dropout),
                      y, rows, options, tape);
        detail::check_tokens(shape(), rows, options.sequences, options.query_offset);
        detail::check_tokens(shape(), keys, key_sequences, 0);
    }
    /// What a forward call writes, for that problem, to a y of so many rows.
    void check_outputs(const detail::Problem<T>& problem, const Output<T>& y, Index rows, const Options& options,
                       const Tape& tape) const {
        this->check_packed(options.packed);
        detail::require(static_cast<bool>(y), "the output y must be given");
        y.check("y", 1, 1, rows, shape().d_model);
        problem.check_pair_output(options.weights, "weights", options.weight_rows);
        if constexpr (OfKind<M, Kind::attention>)
            detail::check_insight(options.insight, problem, Fold<typename M::NormalizerFunctor>);
        check_apart(y, "y", tape);
        check_apart(options.weights, "weights", tape);
        detail::require_apart(detail::Place(options.weights, "weights"), detail::Place(y, "y"));
    }
    template <class DY>
    void check_backward(const Tape& tape, Index keys, const DY& dy, const Output<T>& dx, const MemoryGradients<T>& to,
                        const BackwardOptions& options) const {
        const Index rows = tape.x.rows();
        this->check_parameters();
        problem_of(rows, keys, tape.query_offset, sequences_of(tape.sequences), sequences_of(tape.key_sequences),
                   tape.dropout);
        check_gradients(tape, keys, dy, dx, to, options);
    }
    /// What a backward call reads beside its keys, and writes.
    template <class DY>
    void check_gradients(const Tape& tape, Index keys, const DY& dy, const Output<T>& dx, const MemoryGradients<T>& to,
                         const BackwardOptions& options) const {
        this->check_tape(tape, keys, lse_columns());
        Checks::check_gradients(tape, dy, dx);
        check_apart(dx, "dx", tape);
        const auto each = [&](const auto& apart) { this->check_memory_gradients(tape.call, keys, to, apart); };
        each([&](const Output<T>& output, std::string_view name) {
            check_apart(output, name, tape);
            detail::require_apart(detail::Place(dx, "dx"), detail::Place(output, name));
        });
        check_gradient(options, [&](const auto& matrix, const detail::ParameterName& parameter) {
            this->check_parameter_apart(matrix, parameter, dx.given(), "dx");
            each([&](const Output<T>& output, std::string_view name) {
                this->check_parameter_apart(matrix, parameter, output.given(), name);
            });
            this->check_parameter_apart(matrix, parameter, detail::view_of(dy.data(), dy), "dy");
        });
    }
    /// Throws unless the gradient of the options, where there is one, is one of this block whose parameters pass
    /// `apart(matrix, name)`.
    template <class Apart>
    void check_gradient(const BackwardOptions& options, const Apart& apart) const {
        if (options.gradient == nullptr) return;
        detail::with_gradient(options.gradient, [&]<class T2, class M2>(const MultiHeadAttention<T2, M2>* gradient) {
            gradient->check_parameters();
            const MultiHeadCall<T2, M2>& of_call = *gradient;
            detail::check_gradient(*this, of_call, apart);
        });
    }

    /// Records the call on the rows of x, mixes and projects back. `mix(q, context, options)` is the mixer's call on
    /// the keys and values that it knows of; the queries of a sequence stand from `first(sequence)` on.
    template <class First, class Mix>
    void run(const Rows& x, Tape& tape, Output<T>& y, const Options& options, const detail::SequencesRef& key_sequences,
             const First& first, const Mix& mix) const {
        this->record(tape, options, key_sequences);
        this->project_queries(x, tape, first, options.executor, options.packed);
        tape.lse.resize(x.rows(), lse_columns());
        const Index h = shape().heads;
        mix(heads(tape.q, h), heads(tape.context, h),
            ForwardOptions<Compute<T>>{
                .workspace = options.workspace,
                .executor = options.executor,
                .lse = detail::has_weights<M> ? Output<Compute<T>>(tape.lse) : Output<Compute<T>>(),
                .weights = options.weights,
                .weight_rows = options.weight_rows,
                .insight = options.insight,
                .query_offset = tape.query_offset,
                .sequences = sequences_of(tape.sequences),
                .key_sequences = sequences_of(tape.key_sequences),
                .dropout = tape.dropout});
        this->project_back(tape, y, options.executor, options.packed);
    }
    /// From dy back to the gradients of the projected queries and, in `gradient`, of the parameters that made them;
    /// what the mixer's backward call `mix(q, context, dcontext, dq)` adds to besides is its own affair.
    template <class DY, class Gradient, class First, class Mix>
    void run_backward(Tape& tape, const DY& dy, const BackwardOptions& options, Gradient* gradient, const First& first,
                      const Mix& mix) const {
        this->start_backward(tape, dy, options.executor);
        const Index h = shape().heads;
        mix(heads(tape.q, h), heads(tape.context, h), heads(tape.dcontext, h), heads(tape.dq, h));
        this->add_query_parameters(tape, dy, first, gradient, options.executor);
    }
    /// Where the queries of a call stand whose keys do not say it.
    static auto from(Index query_offset) {
        return [query_offset](Index) { return query_offset; };
    }
    /// The options of that call, by what takes the gradients of the mixer's parameters.
    template <class A = std::remove_const_t<M>>
    static attend::BackwardOptions<A> mixer_options(const Tape& tape, const BackwardOptions& options,
                                                    const detail::GradientPointer<A>& gradient) {
        return {.workspace = options.workspace,
                .executor = options.executor,
                .gradient = gradient,
                .query_offset = tape.query_offset,
                .sequences = sequences_of(tape.sequences),
                .key_sequences = sequences_of(tape.key_sequences),
                .dropout = tape.dropout};
    }
    static detail::SequencesRef sequences_of(const std::vector<Index>& offsets) {
        return detail::SequencesRef(std::span<const Index>(offsets));
    }

private:
    Index lse_columns() const { return detail::has_weights<M> ? shape().heads : 0; }
};

}  // namespace attend

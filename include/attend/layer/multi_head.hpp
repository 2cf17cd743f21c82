#pragma once
/// \file
/// Multi-head attention.

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include <attend/attention.hpp>
#include <attend/core/gradient_check.hpp>
#include <attend/layer/multi_head_projections.hpp>

namespace attend::inline ATTEND_ABI {

/// concat(head_1 … head_h) W_o + b_o with head_i = attention(x W_q, memory W_k, memory W_v), for any attention A
/// (Vaswani et al. 2017; grouped heads: Ainslie et al. 2023). All heads share the value `attention`; what differs
/// between them (ALiBi slopes, sinks, …) it takes by head. Weights are in × out: y = x W + b. Throws
/// `std::invalid_argument` where shapes do not fit.
///
/// Calls with a tape, a workspace and outputs that have served one of their shape before use no heap, and up to 256 KB
/// of stack for the products of the projections, which are Eigen's: in a build with OpenMP they use the threads of
/// `Eigen::nbThreads()`, whatever the executor. The weights and biases are members of `MultiHeadProjections`.
template <class T, class A = ScaledDotProductAttention>
class MultiHeadAttention : public MultiHeadProjections<T> {
    using Projections = MultiHeadProjections<T>;

public:
    using Tape = MultiHeadTape<T>;
    using Options = MultiHeadOptions<T>;
    using BackwardOptions = MultiHeadBackwardOptions<MultiHeadAttention>;

    std::remove_const_t<A> attention;

    /// Xavier-uniform weights from `seed`, biases 0.
    explicit MultiHeadAttention(const MultiHeadShape& block, std::remove_const_t<A> attention_ = {},
                                std::uint64_t seed = 0)
        : Projections(block, seed), attention(std::move(attention_)) {}

    using Projections::shape;

    static void parameters(auto& self, auto&& visit) {
        Projections::parameters(self, visit);
        visit("attention", self.attention);
    }

    /// Self-attention: x is n × d_model, and so is the result.
    template <detail::Dense X>
    RowMatrix<T> operator()(const X& x, Options options = {}) const {
        RowMatrix<T> y;
        forward(x, y, options);
        return y;
    }
    /// Cross-attention: queries from x, keys and values from `memory`, n_kv × d_memory.
    template <detail::Dense X, detail::Dense Memory>
    RowMatrix<T> operator()(const X& x, const Memory& memory, Options options = {}) const {
        RowMatrix<T> y;
        forward(x, memory, y, options);
        return y;
    }
    /// The input is copied before anything is computed: y may be x.
    template <detail::Dense X>
    void forward(const X& x, Output<T> y, Options options = {}) const {
        detail::require(shape().d_memory == shape().d_model, "self-attention needs d_memory (", shape().d_memory,
                        ") equal to d_model (", shape().d_model, ")");
        const auto sequences = options.sequences.offsets(), key_sequences = options.key_sequences.offsets();
        detail::require(key_sequences.empty() ||
                            std::equal(sequences.begin(), sequences.end(), key_sequences.begin(), key_sequences.end()),
                        "self-attention has the same sequences of queries and of keys: give sequences alone");
        Tape own;
        Tape& tape = options.tape == nullptr ? own : *options.tape;
        this->check_input(x, "x", shape().d_model, tape.x);
        check_forward(x.rows(), x.rows(), y, options, options.sequences, tape);
        tape.x = x;
        tape.memory.resize(0, shape().d_memory);
        tape.crosses = false;
        run(tape, y, options, options.sequences);
    }
    template <detail::Dense X, detail::Dense Memory>
    void forward(const X& x, const Memory& memory, Output<T> y, Options options = {}) const {
        Tape own;
        Tape& tape = options.tape == nullptr ? own : *options.tape;
        this->check_input(x, "x", shape().d_model, tape.x);
        this->check_input(memory, "memory", shape().d_memory, tape.memory);
        this->check_source(memory, "memory", tape.x);  // it would be gone when memory is copied
        const detail::SequencesRef& key_sequences = options.key_sequences ? options.key_sequences : options.sequences;
        check_forward(x.rows(), memory.rows(), y, options, key_sequences, tape);
        tape.x = x;
        tape.memory = memory;
        tape.crosses = true;
        run(tape, y, options, key_sequences);
    }

    /// Given dy, the gradient of a loss in the result of the call that `tape` recorded, adds the gradient of x and with
    /// `.gradient` those of the parameters. An empty dx is resized and starts at 0. dy is read before anything is
    /// added: dx may be dy, as behind a residual connection.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, BackwardOptions options = {}) const {
        detail::require(
            !tape.crosses,
            "backward: the tape holds a call with a memory: ask for its gradient too, backward(tape, dy, dx, dmemory)");
        check_backward(tape, dy, dx, {}, options);
        run_backward(tape, dy, options);
        this->add_inputs(tape, dx);
    }
    /// The same for cross-attention.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, Output<T> dmemory, BackwardOptions options = {}) const {
        detail::require(
            tape.crosses,
            "backward: the tape holds a call without a memory, which has no gradient: backward(tape, dy, dx)");
        check_backward(tape, dy, dx, dmemory, options);
        run_backward(tape, dy, options);
        this->add_inputs(tape, dx, dmemory);
    }
    /// A dy that is not memory is evaluated first.
    template <detail::Dense DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, BackwardOptions options = {}) const {
        backward(tape, typename DY::PlainObject(dy), dx, options);
    }
    template <detail::Dense DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, Output<T> dmemory, BackwardOptions options = {}) const {
        backward(tape, typename DY::PlainObject(dy), dx, dmemory, options);
    }

private:
    /// What the attention will be called on, checked before its operands are computed.
    detail::Problem<T> problem_of(Index rows, Index keys, Index query_offset, const detail::SequencesRef& sequences,
                                  const detail::SequencesRef& key_sequences, const Dropout& dropout) const {
        static constexpr T somewhere{};
        const StridedView<const T> q{&somewhere, 1, shape().heads, rows, shape().d_head},
            k{&somewhere, 1, shape().kv_heads, keys, shape().d_head};
        const detail::Problem<T> problem(q, k, k, query_offset, sequences, key_sequences, dropout);
        detail::check_call(attention, problem.shape, problem.q, problem.k);
        return problem;
    }
    /// Throws where an output shares memory with what the tape holds or with a parameter.
    template <class S>
    void check_apart(const Output<S>& output, std::string_view name, const Tape& tape) const {
        Projections::check_apart(output, name, tape);
        const auto apart = [&](const detail::ParameterName&, const auto& matrix) {
            if constexpr (detail::DenseMemory<decltype(matrix)>)
                Projections::check_apart(output, name, matrix, "a parameter of the block");
        };
        detail::walk_parameters(attention, {}, apart);
    }
    void check_forward(Index rows, Index keys, const Output<T>& y, const Options& options,
                       const detail::SequencesRef& key_sequences, const Tape& tape) const {
        this->check_parameters();
        detail::check(options.dropout);
        const auto problem =
            problem_of(rows, keys, options.query_offset, options.sequences, key_sequences, options.dropout);
        detail::require(static_cast<bool>(y), "the output y must be given");
        y.check("y", 1, 1, rows, shape().d_model);
        problem.check_pair_output(options.weights, "weights");
        check_apart(y, "y", tape);
        check_apart(options.weights, "weights", tape);
        detail::require_apart(detail::Place(options.weights, "weights"), detail::Place(y, "y"));
    }
    template <class DY>
    void check_backward(const Tape& tape, const DY& dy, const Output<T>& dx, const Output<T>& dmemory,
                        const BackwardOptions& options) const {
        const Index rows = tape.x.rows(), keys = Projections::memory_of(tape).rows();
        this->check_parameters();
        this->check_tape(tape, keys);
        problem_of(rows, keys, tape.query_offset, sequences_of(tape.sequences), sequences_of(tape.key_sequences),
                   tape.dropout);
        this->check_gradients(tape, keys, dy, dx, dmemory);
        check_apart(dx, "dx", tape);
        check_apart(dmemory, "dmemory", tape);
        if (options.gradient == nullptr) return;
        options.gradient->check_parameters();
        detail::check_gradient(*this, *options.gradient,
                               [&](const auto& matrix, const detail::ParameterName& parameter) {
                                   if constexpr (detail::DenseMemory<decltype(matrix)>) {
                                       const auto view = detail::view_of(matrix.data(), matrix);
                                       const auto apart = [&](const auto& other, std::string_view name) {
                                           if (detail::may_overlap(view, other))
                                               detail::refuse_alias("gradient: " + parameter.text(), view, name, other);
                                       };
                                       apart(dx.given(), "dx"), apart(dmemory.given(), "dmemory");
                                       apart(detail::view_of(dy.data(), dy), "dy");
                                   }
                               });
    }
    static detail::SequencesRef sequences_of(const std::vector<Index>& offsets) {
        return detail::SequencesRef(std::span<const Index>(offsets));
    }

    void run(Tape& tape, Output<T>& y, Options& options, const detail::SequencesRef& key_sequences) const {
        this->record(tape, options, key_sequences);
        this->project(tape);
        const Index h = shape().heads, g = shape().kv_heads;
        attention(heads(tape.q, h), heads(tape.k, g), heads(tape.v, g), heads(tape.context, h),
                  {.workspace = options.workspace,
                   .executor = options.executor,
                   .lse = tape.lse,
                   .weights = options.weights,
                   .query_offset = tape.query_offset,
                   .sequences = sequences_of(tape.sequences),
                   .key_sequences = sequences_of(tape.key_sequences),
                   .dropout = tape.dropout});
        this->project_back(tape, y);
    }
    /// From dy back to the gradients of the projected queries, keys and values, and to those of the parameters.
    template <class DY>
    void run_backward(Tape& tape, const DY& dy, BackwardOptions& options) const {
        this->start_backward(tape, dy);
        const Index h = shape().heads, g = shape().kv_heads;
        attention.backward(heads(tape.q, h), heads(tape.k, g), heads(tape.v, g), heads(tape.context, h), tape.lse,
                           heads(tape.dcontext, h), heads(tape.dq, h), heads(tape.dk, g), heads(tape.dv, g),
                           {.workspace = options.workspace,
                            .executor = options.executor,
                            .gradient = options.gradient == nullptr ? nullptr : &options.gradient->attention,
                            .query_offset = tape.query_offset,
                            .sequences = sequences_of(tape.sequences),
                            .key_sequences = sequences_of(tape.key_sequences),
                            .dropout = tape.dropout});
        this->add_parameters(tape, dy, options.gradient);
    }
};

}  // namespace attend

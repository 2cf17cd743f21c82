#pragma once
/// \file
/// Multi-head attention.

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/attention.hpp>
#include <attend/core/gradient_check.hpp>
#include <attend/layer/multi_head_memory.hpp>
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
    using Memory = MultiHeadMemory<T, A>;
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
    template <detail::Dense X, detail::Dense M>
    RowMatrix<T> operator()(const X& x, const M& memory, Options options = {}) const {
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
        tape.crosses = tape.prepared = false;
        run(tape, y, options, options.sequences);
    }
    template <detail::Dense X, detail::Dense M>
    void forward(const X& x, const M& memory, Output<T> y, Options options = {}) const {
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
        tape.prepared = false;
        run(tape, y, options, key_sequences);
    }

    /// A memory made ready for any number of calls: its keys and values are projected, and where the attention's score
    /// maps keys mapped, once. `sequences` are those of its rows, where calls have such.
    template <detail::Dense M>
    Memory prepare(const M& memory, const detail::KeptSequences& sequences = {},
                   const detail::ExecutorRef& executor = serial) const {
        this->check_parameters();
        this->check_input(memory, "memory", shape().d_memory, RowMatrix<T>());
        const auto offsets = sequences.offsets();
        static constexpr T somewhere{};
        const StridedView<const T> one{&somewhere, 1, 1, memory.rows(), 1};
        const detail::Problem<T> problem(one, one, one, 0, sequences, sequences);  // refuses sequences of other rows
        RowMatrix<T> rows = memory, k, v;
        std::vector<Index> own(offsets.begin(), offsets.end());
        this->project_memory(rows, own, k, v);
        const Index g = shape().kv_heads;
        return Memory(g, shape().d_head, std::move(rows), std::move(own),
                      attention.prepare(heads(k, g), heads(v, g), executor));
    }
    /// Cross-attention over a prepared memory: what a call on the memory itself gives, to the bit.
    template <detail::Dense X, class M>
        requires std::is_same_v<M, Memory>
    RowMatrix<T> operator()(const X& x, const M& memory, Options options = {}) const {
        RowMatrix<T> y;
        forward(x, memory, y, options);
        return y;
    }
    template <detail::Dense X, class M>
        requires std::is_same_v<M, Memory>
    void forward(const X& x, const M& memory, Output<T> y, Options options = {}) const {
        check_memory(memory);
        check_sequences(memory, options);
        Tape own;
        Tape& tape = options.tape == nullptr ? own : *options.tape;
        this->check_input(x, "x", shape().d_model, tape.x);
        const detail::SequencesRef key_sequences = sequences_of(memory.sequences_);
        check_forward(x.rows(), memory.rows(), y, options, key_sequences, tape);
        tape.x = x;
        tape.crosses = tape.prepared = true;
        this->record(tape, options, key_sequences);
        this->project_queries(tape);
        memory.keys_(heads(tape.q, shape().heads), heads(tape.context, shape().heads),
                     {.workspace = options.workspace,
                      .executor = options.executor,
                      .lse = tape.lse,
                      .weights = options.weights,
                      .query_offset = tape.query_offset,
                      .sequences = sequences_of(tape.sequences),
                      .key_sequences = key_sequences,
                      .dropout = tape.dropout});
        this->project_back(tape, y);
    }

    /// Given dy, the gradient of a loss in the result of the call that `tape` recorded, adds the gradient of x and with
    /// `.gradient` those of the parameters. An empty dx is resized and starts at 0. dy is read before anything is
    /// added: dx may be dy, as behind a residual connection.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, BackwardOptions options = {}) const {
        detail::require(
            !tape.crosses,
            "backward: the tape holds a call with a memory: ask for its gradient too, backward(tape, dy, dx, dmemory)");
        check_backward(tape, tape.x.rows(), dy, dx, {}, options);
        run_backward(tape, dy, options);
        this->add_inputs(tape, dx);
    }
    /// The same for cross-attention.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, Output<T> dmemory, BackwardOptions options = {}) const {
        detail::require(!tape.prepared, "backward: the tape holds a call with a prepared memory: give it that");
        detail::require(
            tape.crosses,
            "backward: the tape holds a call without a memory, which has no gradient: backward(tape, dy, dx)");
        check_backward(tape, tape.memory.rows(), dy, dx, dmemory, options);
        run_backward(tape, dy, options);
        this->add_inputs(tape, dx, dmemory);
    }
    /// The same for a prepared memory, which gathers its own gradients and those of the parameters of keys, of values
    /// and of the attention until `add_gradients`.
    template <detail::DenseMemory DY, class M>
        requires std::is_same_v<M, Memory>
    void backward(Tape& tape, const DY& dy, Output<T> dx, M& memory, BackwardOptions options = {}) const {
        detail::require(tape.prepared, "backward: the tape holds no call with a prepared memory");
        check_memory(memory);
        detail::require(tape.key_sequences == memory.sequences_,
                        "backward: the tape holds a call with a memory of other sequences");
        check_backward(tape, memory.rows(), dy, dx, {}, options);
        this->start_backward(tape, dy);
        const Index h = shape().heads;
        memory.keys_.backward(heads(tape.q, h), heads(tape.context, h), tape.lse, heads(tape.dcontext, h),
                              heads(tape.dq, h),
                              {.workspace = options.workspace,
                               .executor = options.executor,
                               .query_offset = tape.query_offset,
                               .sequences = sequences_of(tape.sequences),
                               .key_sequences = sequences_of(tape.key_sequences),
                               .dropout = tape.dropout});
        this->add_query_parameters(tape, dy, options.gradient);
        this->add_query_inputs(tape, dx);
    }
    /// Adds what a prepared memory has gathered: its gradient and, with `.gradient`, those of the parameters; then
    /// nothing is gathered any more. One thread; of the options the gradient alone.
    template <class M>
        requires std::is_same_v<M, Memory>
    void add_gradients(M& memory, Output<T> dmemory, BackwardOptions options = {}) const {
        this->check_parameters();
        check_memory(memory);
        detail::require(static_cast<bool>(dmemory), "the gradient dmemory must be given");
        dmemory.check("dmemory", 1, 1, memory.rows(), shape().d_memory);
        check_apart(dmemory, "dmemory", Tape());
        if (options.gradient != nullptr) {
            options.gradient->check_parameters();
            detail::check_gradient(*this, *options.gradient, [&](const auto& matrix, const auto& parameter) {
                check_parameter_apart(matrix, parameter, dmemory.given(), "dmemory");
            });
        }
        const Index g = shape().kv_heads, width = g * shape().d_head;
        memory.dk_.setZero(memory.rows(), width), memory.dv_.setZero(memory.rows(), width);
        memory.keys_.add_gradients(heads(memory.dk_, g), heads(memory.dv_, g),
                                   options.gradient == nullptr ? nullptr : &options.gradient->attention);
        this->add_memory_parameters(memory.rows_, memory.sequences_, memory.dk_, memory.dv_, options.gradient);
        this->add_memory_inputs(memory.dk_, memory.dv_, dmemory);
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
    template <detail::Dense DY, class M>
        requires(std::is_same_v<M, Memory> && !detail::DenseMemory<DY>)
    void backward(Tape& tape, const DY& dy, Output<T> dx, M& memory, BackwardOptions options = {}) const {
        backward(tape, typename DY::PlainObject(dy), dx, memory, options);
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
    void check_backward(const Tape& tape, Index keys, const DY& dy, const Output<T>& dx, const Output<T>& dmemory,
                        const BackwardOptions& options) const {
        const Index rows = tape.x.rows();
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
                                   check_parameter_apart(matrix, parameter, dx.given(), "dx");
                                   check_parameter_apart(matrix, parameter, dmemory.given(), "dmemory");
                                   check_parameter_apart(matrix, parameter, detail::view_of(dy.data(), dy), "dy");
                               });
    }
    /// Throws where the gradient of a parameter shares memory with what else a call reads or writes.
    template <class P, class Other>
    static void check_parameter_apart([[maybe_unused]] const P& gradient,
                                      [[maybe_unused]] const detail::ParameterName& parameter,
                                      [[maybe_unused]] const Other& other, [[maybe_unused]] std::string_view name) {
        if constexpr (detail::DenseMemory<const P&>) {
            const auto view = detail::view_of(gradient.data(), gradient);
            if (detail::may_overlap(view, other))
                detail::refuse_alias("gradient: " + parameter.text(), view, name, other);
        }
    }
    /// Throws unless a block of this shape has prepared the memory.
    void check_memory(const Memory& memory) const {
        if (memory.rows_.cols() != shape().d_memory || memory.kv_heads_ != shape().kv_heads ||
            memory.d_head_ != shape().d_head)
            detail::refuse("the memory was prepared by a block of another shape: ",
                           detail::named("memory", memory.rows(), memory.rows_.cols()), " with ", memory.kv_heads_,
                           " heads of ", memory.d_head_, " features, not ", shape().d_memory, " columns with ",
                           shape().kv_heads, " heads of ", shape().d_head);
    }
    /// Calls must cut a prepared memory as it was prepared.
    static void check_sequences(const Memory& memory, const Options& options) {
        const auto given = options.key_sequences.offsets(), own = std::span<const Index>(memory.sequences_);
        detail::require(own.empty() == options.sequences.offsets().empty(), "sequences: the memory was prepared ",
                        own.empty() ? "without" : "with", " sequences, so that a call must be as well");
        detail::require(given.empty() || std::equal(given.begin(), given.end(), own.begin(), own.end()),
                        "key_sequences: the memory was prepared with other ones: leave them out");
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

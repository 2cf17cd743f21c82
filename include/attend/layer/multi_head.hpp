#pragma once
/// \file
/// Multi-head attention.

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <attend/attention.hpp>
#include <attend/layer/multi_head_call.hpp>
#include <attend/layer/multi_head_memory.hpp>

namespace attend::inline ATTEND_ABI {

/// concat(head_1 … head_h) W_o + b_o with head_i = attention(x W_q, memory W_k, memory W_v), for any attention
/// (Vaswani et al. 2017; grouped heads: Ainslie et al. 2023) A or other mixer (mixer/mixer.hpp). All heads share the
/// value `attention`; what differs between them (ALiBi slopes, sinks, …) it takes by head. Weights are in × out:
/// y = x W + b. x and y are n × d_model. Throws `std::invalid_argument`, naming the operands and their shapes, before
/// anything is written. A call takes O(n · d_model²) operations for the projections and those of the attention.
///
/// Calls with a tape, a workspace and outputs that have served one of their shape before use no heap, and on each
/// thread up to 200 KB of stack for the products of the projections. The executor shares these where they are large and
/// not of 16 bits. The weights and biases are members of `MultiHeadProjections`, the calls on prepared memories of
/// `MultiHeadOnMemory`.
template <class T, class A = ScaledDotProductAttention>
class MultiHeadAttention : public MultiHeadOnMemory<T, A> {
    using OnMemory = MultiHeadOnMemory<T, A>;

public:
    using OnMemory::attention, OnMemory::shape;
    using typename OnMemory::BackwardOptions, typename OnMemory::Options, typename OnMemory::Tape;
    using OnMemory::operator(), OnMemory::forward, OnMemory::backward;

    /// Xavier-uniform weights from `seed`, biases 0.
    explicit MultiHeadAttention(const MultiHeadShape& block, std::remove_const_t<A> attention_ = {},
                                std::uint64_t seed = 0)
        : OnMemory(block, std::move(attention_), seed) {}

    auto spelled(const auto& say) const { return say(say.of("multi_head", T()), shape(), attention); }

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
    /// Keys from one memory, n_kv × d_memory, and values from another, n_kv × d_value_memory.
    template <detail::Dense X, detail::Dense K, detail::Dense V>
    RowMatrix<T> operator()(const X& x, const K& keys_from, const V& values_from, Options options = {}) const {
        RowMatrix<T> y;
        forward(x, keys_from, values_from, y, options);
        return y;
    }
    /// Self-attention into y. The input has been read when the result is written: y may be x.
    template <detail::Dense X>
    void forward(const X& x, Output<T> y, Options options = {}) const {
        this->check_self();
        const auto sequences = options.sequences.offsets(), key_sequences = options.key_sequences.offsets();
        detail::require(key_sequences.empty() ||
                            std::equal(sequences.begin(), sequences.end(), key_sequences.begin(), key_sequences.end()),
                        "self-attention has the same sequences of queries and of keys: give sequences alone");
        detail::TapeOf<T> recorded(options);
        Tape& tape = recorded.tape;
        this->check_input(x, "x", shape().d_model, tape.x);
        this->check_forward(x.rows(), x.rows(), y, options, options.sequences, tape);
        tape.call = BlockCall::self;
        const auto rows = this->input(x, options.tape != nullptr, tape.x);
        run(rows, rows, rows, tape, y, options, options.sequences);
    }
    /// Cross-attention into y, and with two memories.
    /// @{
    template <detail::Dense X, detail::Dense M>
    void forward(const X& x, const M& memory, Output<T> y, Options options = {}) const {
        this->check_one_memory();
        detail::TapeOf<T> recorded(options);
        Tape& tape = recorded.tape;
        this->check_input(x, "x", shape().d_model, tape.x);
        this->check_input(memory, "memory", shape().d_memory, tape.memory);
        this->check_source(memory, "memory", tape.x);  // it would be gone when memory is copied
        const detail::SequencesRef& key_sequences = key_sequences_of(options);
        this->check_forward(x.rows(), memory.rows(), y, options, key_sequences, tape);
        tape.call = BlockCall::memory;
        const bool keeps = options.tape != nullptr;
        const auto rows = this->input(x, keeps, tape.x), memory_rows = this->input(memory, keeps, tape.memory);
        run(rows, memory_rows, memory_rows, tape, y, options, key_sequences);
    }
    template <detail::Dense X, detail::Dense K, detail::Dense V>
    void forward(const X& x, const K& keys_from, const V& values_from, Output<T> y, Options options = {}) const {
        detail::TapeOf<T> recorded(options);
        Tape& tape = recorded.tape;
        this->check_input(x, "x", shape().d_model, tape.x);
        this->check_input(keys_from, "keys_from", shape().d_memory, tape.memory);
        this->check_input(values_from, "values_from", shape().d_value_memory, tape.value_memory);
        this->check_source(keys_from, "keys_from", tape.x);  // in the order in which they are copied
        this->check_source(values_from, "values_from", tape.x);
        this->check_source(values_from, "values_from", tape.memory);
        this->check_rows(keys_from, values_from);
        const detail::SequencesRef& key_sequences = key_sequences_of(options);
        this->check_forward(x.rows(), keys_from.rows(), y, options, key_sequences, tape);
        tape.call = BlockCall::memories;
        const bool keeps = options.tape != nullptr;
        const auto rows = this->input(x, keeps, tape.x), key_rows = this->input(keys_from, keeps, tape.memory),
                   value_rows = this->input(values_from, keeps, tape.value_memory);
        run(rows, key_rows, value_rows, tape, y, options, key_sequences);
    }
    /// @}

    /// Given dy, the gradient of a loss in the result of the call that `tape` recorded, adds the gradient of x and with
    /// `.gradient` those of the parameters. An empty dx is resized and starts at 0. dy is read before anything is
    /// added: dx may be dy, as behind a residual connection.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, BackwardOptions options = {}) const {
        check_call(tape, BlockCall::self);
        this->check_backward(tape, tape.x.rows(), dy, dx, {}, options);
        run_backward(tape, dy, options);
        this->add_inputs(tape, dx, options.executor);
    }
    /// The same for cross-attention.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, Output<T> dmemory, BackwardOptions options = {}) const {
        check_call(tape, BlockCall::memory);
        cross_backward(tape, dy, dx, {.keys = dmemory}, options);
    }
    /// And with two memories.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, Output<T> dkeys_from, Output<T> dvalues_from,
                  BackwardOptions options = {}) const {
        check_call(tape, BlockCall::memories);
        cross_backward(tape, dy, dx, {.keys = dkeys_from, .values = dvalues_from}, options);
    }
    /// A dy that is not memory is evaluated first.
    /// @{
    template <detail::Dense DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, BackwardOptions options = {}) const {
        backward(tape, typename DY::PlainObject(dy), dx, options);
    }
    template <detail::Dense DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, Output<T> dmemory, BackwardOptions options = {}) const {
        backward(tape, typename DY::PlainObject(dy), dx, dmemory, options);
    }
    template <detail::Dense DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, Output<T> dkeys_from, Output<T> dvalues_from,
                  BackwardOptions options = {}) const {
        backward(tape, typename DY::PlainObject(dy), dx, dkeys_from, dvalues_from, options);
    }
    /// @}

private:
    using typename OnMemory::Rows;

    static const detail::SequencesRef& key_sequences_of(const Options& options) {
        return options.key_sequences ? options.key_sequences : options.sequences;
    }
    void run(const Rows& x, const Rows& keys_from, const Rows& values_from, Tape& tape, Output<T>& y,
             const Options& options, const detail::SequencesRef& key_sequences) const {
        const auto mix = [&](const auto& q, const auto& context, const auto& call) {
            this->project_memory(keys_from, values_from, tape.key_sequences, tape.raw_k, tape.k, tape.v,
                                 options.executor, options.packed);
            const Index g = shape().kv_heads;
            attention(q, heads(tape.k, g), heads(tape.v, g), context, call);
        };
        OnMemory::run(x, tape, y, options, key_sequences, this->from(options.query_offset), mix);
    }
    /// Throws unless `backward` is asked what fits the call that the tape holds.
    static void check_call(const Tape& tape, BlockCall asked) {
        if (tape.call == asked || tape.call == BlockCall::step) return;  // a step is refused elsewhere
        if (tape.call == BlockCall::self)
            detail::refuse("backward: the tape holds a call without a memory, which has no gradient: ",
                           "backward(tape, dy, dx)");
        if (tape.call == BlockCall::memory)
            detail::refuse("backward: the tape holds a call with a memory: ask for its gradient too, ",
                           "backward(tape, dy, dx, dmemory)");
        if (tape.call == BlockCall::memories)
            detail::refuse("backward: the tape holds a call with two memories: ask for the gradients of both, ",
                           "backward(tape, dy, dx, dkeys_from, dvalues_from)");
        detail::refuse("backward: the tape holds a call with a prepared memory, or a source of keys: give it that");
    }
    template <class DY>
    void cross_backward(Tape& tape, const DY& dy, Output<T>& dx, MemoryGradients<T> to,
                        const BackwardOptions& options) const {
        this->check_backward(tape, tape.memory.rows(), dy, dx, to, options);
        run_backward(tape, dy, options);
        this->add_query_inputs(tape, dx, options.executor);
        this->add_memory_inputs(tape.dk, tape.dv, to, options.executor);
    }
    /// From dy back to the gradients of the projected queries, keys and values, and to those of the parameters.
    template <class DY>
    void run_backward(Tape& tape, const DY& dy, const BackwardOptions& options) const {
        detail::with_gradient(options.gradient, [&](auto* gradient) {
            const auto mix = [&](const auto& q, const auto& context, const auto& dcontext, const auto& dq) {
                const Index g = shape().kv_heads;
                attention.backward(q, heads(tape.k, g), heads(tape.v, g), context, tape.lse, dcontext, dq,
                                   heads(tape.dk, g), heads(tape.dv, g),
                                   this->mixer_options(tape, options, detail::attention_of(gradient)));
            };
            OnMemory::run_backward(tape, dy, options, gradient, this->from(tape.query_offset), mix);
            this->add_memory_parameters(this->keys_from(tape), this->values_from(tape), tape.key_sequences, tape.raw_k,
                                        tape.dk, tape.dv, tape.dgain, gradient, options.executor);
        });
    }
};

/// A block around an attention or other mixer whose type is deduced: `multi_head<float>({.d_model = 512, .heads = 8},
/// scaled_dot_product >> causal, seed)`. Throws where the shape does not fit.
template <class T, class A = ScaledDotProductAttention>
MultiHeadAttention<T, A> multi_head(const MultiHeadShape& shape, A attention = {}, std::uint64_t seed = 0) {
    return MultiHeadAttention<T, A>(shape, std::move(attention), seed);
}

}  // namespace attend

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
/// y = x W + b. Throws `std::invalid_argument` where shapes do not fit.
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
    /// The input has been read when the result is written: y may be x.
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
        this->check_forward(x.rows(), x.rows(), y, options, options.sequences, tape);
        tape.memory.resize(0, shape().d_memory);
        tape.crosses = tape.prepared = false;
        const auto rows = this->input(x, options.tape != nullptr, tape.x);
        run(rows, rows, tape, y, options, options.sequences);
    }
    template <detail::Dense X, detail::Dense M>
    void forward(const X& x, const M& memory, Output<T> y, Options options = {}) const {
        Tape own;
        Tape& tape = options.tape == nullptr ? own : *options.tape;
        this->check_input(x, "x", shape().d_model, tape.x);
        this->check_input(memory, "memory", shape().d_memory, tape.memory);
        this->check_source(memory, "memory", tape.x);  // it would be gone when memory is copied
        const detail::SequencesRef& key_sequences = options.key_sequences ? options.key_sequences : options.sequences;
        this->check_forward(x.rows(), memory.rows(), y, options, key_sequences, tape);
        tape.crosses = true;
        tape.prepared = false;
        const bool keeps = options.tape != nullptr;
        const auto rows = this->input(x, keeps, tape.x), memory_rows = this->input(memory, keeps, tape.memory);
        run(rows, memory_rows, tape, y, options, key_sequences);
    }

    /// Given dy, the gradient of a loss in the result of the call that `tape` recorded, adds the gradient of x and with
    /// `.gradient` those of the parameters. An empty dx is resized and starts at 0. dy is read before anything is
    /// added: dx may be dy, as behind a residual connection.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, BackwardOptions options = {}) const {
        detail::require(
            !tape.crosses,
            "backward: the tape holds a call with a memory: ask for its gradient too, backward(tape, dy, dx, dmemory)");
        this->check_backward(tape, tape.x.rows(), dy, dx, {}, options);
        run_backward(tape, dy, options);
        this->add_inputs(tape, dx, options.executor);
    }
    /// The same for cross-attention.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, Output<T> dmemory, BackwardOptions options = {}) const {
        detail::require(!tape.prepared,
                        "backward: the tape holds a call with a prepared memory, or a source of keys: give it that");
        detail::require(
            tape.crosses,
            "backward: the tape holds a call without a memory, which has no gradient: backward(tape, dy, dx)");
        this->check_backward(tape, tape.memory.rows(), dy, dx, dmemory, options);
        run_backward(tape, dy, options);
        this->add_inputs(tape, dx, dmemory, options.executor);
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
    using typename OnMemory::Rows;

    void run(const Rows& x, const Rows& memory, Tape& tape, Output<T>& y, const Options& options,
             const detail::SequencesRef& key_sequences) const {
        const auto mix = [&](const auto& q, const auto& context, const auto& call) {
            this->project_memory(memory, tape.key_sequences, tape.k, tape.v, options.executor, options.packed);
            const Index g = shape().kv_heads;
            attention(q, heads(tape.k, g), heads(tape.v, g), context, call);
        };
        OnMemory::run(x, tape, y, options, key_sequences, mix);
    }
    /// From dy back to the gradients of the projected queries, keys and values, and to those of the parameters.
    template <class DY>
    void run_backward(Tape& tape, const DY& dy, const BackwardOptions& options) const {
        const auto mix = [&](const auto& q, const auto& context, const auto& dcontext, const auto& dq) {
            const Index g = shape().kv_heads;
            attention.backward(
                q, heads(tape.k, g), heads(tape.v, g), context, tape.lse, dcontext, dq, heads(tape.dk, g),
                heads(tape.dv, g),
                this->mixer_options(tape, options,
                                    options.gradient == nullptr ? nullptr : &options.gradient->attention));
        };
        OnMemory::run_backward(tape, dy, options, mix);
        this->add_memory_parameters(this->memory_of(tape), tape.key_sequences, tape.dk, tape.dv, options.gradient,
                                    options.executor);
    }
};

}  // namespace attend

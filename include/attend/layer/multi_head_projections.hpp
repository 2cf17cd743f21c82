#pragma once
/// \file
/// The products of a multi-head block: all of its calls but its attention.

#include <cstdint>
#include <span>
#include <vector>

#include <attend/call/problem.hpp>
#include <attend/layer/linear.hpp>
#include <attend/layer/multi_head_weights.hpp>
#include <attend/layer/query_key_steps.hpp>

namespace attend::inline ATTEND_ABI {

/// The gradients of what a block's keys and values come from.
template <class T>
struct MemoryGradients {
    Output<T> keys = {};    ///< of one memory, or of two that of the keys
    Output<T> values = {};  ///< of two memories that of the values
};

/// The linear maps around the heads of a multi-head block, and all else in it that does not know the attention: so a
/// program with blocks of many attentions holds it once a scalar type.
template <class T>
class MultiHeadProjections : public MultiHeadWeights<T> {
    using Weights = MultiHeadWeights<T>;

public:
    using typename Weights::Matrix, typename Weights::Packed;
    using Weights::gate_bias, Weights::gate_weight, Weights::k_norm, Weights::q_norm;
    using Weights::key_bias, Weights::key_weight, Weights::output_bias, Weights::output_weight, Weights::query_bias,
        Weights::query_weight, Weights::value_bias, Weights::value_weight;
    using Weights::shape;
    using Tape = MultiHeadTape<T>;  ///< what a call records
    /// Rows that follow each other.
    using Rows = Eigen::Ref<const RowMatrix<T>, 0, Eigen::OuterStride<>>;

protected:
    using Weights::Weights;

    static void record(Tape& tape, const MultiHeadOptions<T>& options, const detail::SequencesRef& key_sequences) {
        const auto q = options.sequences.offsets(), k = key_sequences.offsets();
        tape.sequences.assign(q.begin(), q.end());
        tape.key_sequences.assign(k.begin(), k.end());
        tape.query_offset = options.query_offset;
        tape.dropout = options.dropout;
    }
    /// The rows of an input: the copy that a tape keeps of it, or if it shall keep none, those that are given, where
    /// they follow each other. Others are copied all the same: their products would go other ways, to other bits.
    template <class X>
    static Rows input(const X& x, bool keeps, RowMatrix<T>& copy) {
        if constexpr (detail::DenseMemory<X> && X::IsRowMajor && X::InnerStrideAtCompileTime == 1) {
            if (!keeps && x.outerStride() == x.cols()) return Rows(x);
        }
        copy = x;
        return Rows(copy);
    }
    /// The queries of x, for the tape, whose sequences stand, the gates, and room for what is made of them. A
    /// sequence's first query stands at `first(sequence)`.
    template <class First>
    void project_queries(const Rows& x, Tape& tape, const First& first, const detail::ExecutorRef& executor,
                         const Packed* packed) const {
        RowMatrix<T>& projected = before_steps(tape.raw_q, tape.q);
        tape.normed = shape().qk_norm.has_value();
        detail::linear(x, query_weight, query_bias, projected, executor, packed ? &packed->query() : nullptr);
        tape.q.resize(x.rows(), query_weight.cols());
        detail::to_heads(shape(), q_norm, projected, tape.q, shape().heads, offsets(tape.sequences), first);
        detail::linear(x, gate_weight, gate_bias, tape.gates, executor, packed ? &packed->gate() : nullptr);
        tape.context.resize(x.rows(), output_weight.rows());
    }
    /// The keys and values of the rows of a memory, or of two; and the keys before the norm, if there is one.
    void project_memory(const Rows& keys_from, const Rows& values_from, const std::vector<Index>& sequences,
                        RowMatrix<T>& raw_k, RowMatrix<T>& k, RowMatrix<T>& v, const detail::ExecutorRef& executor,
                        const Packed* packed = nullptr) const {
        RowMatrix<T>& projected = before_steps(raw_k, k);
        detail::linear(keys_from, key_weight, key_bias, projected, executor, packed ? &packed->key() : nullptr);
        detail::linear(values_from, value_weight, value_bias, v, executor, packed ? &packed->value() : nullptr);
        k.resize(keys_from.rows(), key_weight.cols());
        detail::to_heads(shape(), k_norm, projected, k, shape().kv_heads, offsets(sequences), from_start);
    }
    /// What a step holds, each in memory that is kept for the largest. `apart`: what else it may have to copy.
    enum class StepSlot { inputs, queries, keys, values, contexts, gates, apart };
    using StepMatrix = Eigen::Map<RowMatrix<T>>;
    template <class C>
    static auto kept(std::vector<C>& memory, Index rows, Index columns) {
        const auto size = static_cast<std::size_t>(rows * columns);
        if (memory.size() < size) memory.resize(size);
        return Eigen::Map<RowMatrix<C>>(memory.data(), rows, columns);
    }
    static StepMatrix kept(Tape& tape, StepSlot slot, Index rows, Index columns) {
        return kept(tape.step_memory[static_cast<std::size_t>(slot)], rows, columns);
    }
    /// The rows of an input of a step, as `input`.
    template <class X>
    static Rows step_input(const X& x, Tape& tape, StepSlot slot) {
        if constexpr (detail::DenseMemory<X> && X::IsRowMajor && X::InnerStrideAtCompileTime == 1) {
            if (x.outerStride() == x.cols()) return Rows(x);
        }
        StepMatrix copy = kept(tape, slot, x.rows(), x.cols());
        copy = x;
        return Rows(copy);
    }
    struct StepKeys {
        StepMatrix k, v;
    };
    /// The keys and values of the rows of sequences, the first of which stands at `first(sequence)`. Each sequence has
    /// the bits that it has alone.
    template <class First>
    StepKeys project_step_keys(const Rows& keys_from, const Rows& values_from, const detail::SequencesRef& sequences,
                               const First& first, Tape& tape, const detail::ExecutorRef& executor,
                               const Packed* packed) const {
        StepKeys rows{kept(tape, StepSlot::keys, keys_from.rows(), key_weight.cols()),
                      kept(tape, StepSlot::values, values_from.rows(), value_weight.cols())};
        detail::linear_by_sequences(keys_from, sequences, key_weight, key_bias, rows.k, executor,
                                    packed ? &packed->key() : nullptr);
        detail::linear_by_sequences(values_from, sequences, value_weight, value_bias, rows.v, executor,
                                    packed ? &packed->value() : nullptr);
        detail::to_heads(shape(), k_norm, rows.k, rows.k, shape().kv_heads, sequences, first);
        return rows;
    }
    /// The queries likewise.
    template <class First>
    StepMatrix project_step_queries(const Rows& x, const detail::SequencesRef& sequences, const First& first,
                                    Tape& tape, const detail::ExecutorRef& executor, const Packed* packed) const {
        StepMatrix q = kept(tape, StepSlot::queries, x.rows(), query_weight.cols());
        detail::linear_by_sequences(x, sequences, query_weight, query_bias, q, executor,
                                    packed ? &packed->query() : nullptr);
        detail::to_heads(shape(), q_norm, q, q, shape().heads, sequences, first);
        return q;
    }
    /// The heads' outputs of such rows by their gates.
    void gate_step(const Rows& x, const detail::SequencesRef& sequences, StepMatrix& context, Tape& tape,
                   const detail::ExecutorRef& executor, const Packed* packed) const {
        if (shape().gate == OutputGate::none) return;
        StepMatrix gates = kept(tape, StepSlot::gates, x.rows(), gate_weight.cols());
        detail::linear_by_sequences(x, sequences, gate_weight, gate_bias, gates, executor,
                                    packed ? &packed->gate() : nullptr);
        detail::apply_gates(gates, context, shape().heads, context);
    }
    /// y from the heads' outputs of such rows.
    void project_step_back(const StepMatrix& context, const detail::SequencesRef& sequences, Output<T>& y,
                           const detail::ExecutorRef& executor, const Packed* packed) const {
        detail::in_storage_order(y.as(1, 1, context.rows(), shape().d_model), [&](auto to) {
            detail::linear_by_sequences(context, sequences, output_weight, output_bias, to, executor,
                                        packed ? &packed->output() : nullptr);
        });
    }
    /// y from the heads' outputs.
    void project_back(Tape& tape, Output<T>& y, const detail::ExecutorRef& executor, const Packed* packed) const {
        if (shape().gate != OutputGate::none) {
            tape.gated.resize(tape.context.rows(), tape.context.cols());
            detail::apply_gates(tape.gates, tape.context, shape().heads, tape.gated);
        }
        detail::in_storage_order(y.as(1, 1, tape.context.rows(), shape().d_model), [&](auto rows) {
            detail::linear(gated(tape), output_weight, output_bias, rows, executor,
                           packed ? &packed->output() : nullptr);
        });
    }

    /// From dy, the gradient of y, to that of the heads' outputs; those of q, k and v start at 0.
    template <class DY>
    void start_backward(Tape& tape, const DY& dy, const detail::ExecutorRef& executor) const {
        tape.dcontext.resize(tape.context.rows(), tape.context.cols());
        detail::add_product(tape.dcontext, dy, output_weight.transpose(), executor, detail::ProductStart<T>::zero());
        tape.dgates.resize(tape.gates.rows(), tape.gates.cols());
        if (shape().gate != OutputGate::none)
            detail::gates_backward(tape.gates, tape.context, shape().heads, tape.dcontext, tape.dgates);
        tape.dq.setZero(tape.q.rows(), tape.q.cols());
        tape.dk.setZero(tape.k.rows(), tape.k.cols());
        tape.dv.setZero(tape.v.rows(), tape.v.cols());
    }
    /// Adds the parameters' gradients, given that of q, after which dy is not read any more, or those of k and v.
    template <class DY, class First, class Gradient>
    void add_query_parameters(Tape& tape, const DY& dy, const First& first, Gradient* gradient,
                              const detail::ExecutorRef& executor) const {
        detail::to_heads_backward(shape(), q_norm, tape.raw_q, tape.dq, shape().heads, offsets(tape.sequences), first,
                                  gradient == nullptr ? nullptr : &gradient->q_norm, tape.dgain);
        if (gradient == nullptr) return;
        detail::linear_parameters_backward(gated(tape), dy, gradient->output_weight, gradient->output_bias, executor);
        detail::linear_parameters_backward(tape.x, tape.dgates, gradient->gate_weight, gradient->gate_bias, executor);
        detail::linear_parameters_backward(tape.x, tape.dq, gradient->query_weight, gradient->query_bias, executor);
    }
    template <class Gradient>
    void add_memory_parameters(const RowMatrix<T>& keys_from, const RowMatrix<T>& values_from,
                               const std::vector<Index>& sequences, const RowMatrix<T>& raw_k, RowMatrix<T>& dk,
                               const RowMatrix<T>& dv, ColumnVector<Compute<T>>& dgain, Gradient* gradient,
                               const detail::ExecutorRef& executor) const {
        detail::to_heads_backward(shape(), k_norm, raw_k, dk, shape().kv_heads, offsets(sequences), from_start,
                                  gradient == nullptr ? nullptr : &gradient->k_norm, dgain);
        if (gradient == nullptr) return;
        detail::linear_parameters_backward(keys_from, dk, gradient->key_weight, gradient->key_bias, executor);
        detail::linear_parameters_backward(values_from, dv, gradient->value_weight, gradient->value_bias, executor);
    }
    /// Adds the gradient of x, which keys and values come from too.
    void add_inputs(const Tape& tape, Output<T>& dx, const detail::ExecutorRef& executor) const {
        auto dx_rows = rows_of(dx, tape.x.rows(), tape.x.cols());
        detail::add_products(dx_rows, executor, detail::times(tape.dq, query_weight.transpose()),
                             detail::times(tape.dk, key_weight.transpose()),
                             detail::times(tape.dv, value_weight.transpose()),
                             detail::times(tape.dgates, gate_weight.transpose()));
    }
    /// Adds the gradient of x where they come from elsewhere.
    void add_query_inputs(const Tape& tape, Output<T>& dx, const detail::ExecutorRef& executor) const {
        auto dx_rows = rows_of(dx, tape.x.rows(), tape.x.cols());
        detail::add_products(dx_rows, executor, detail::times(tape.dq, query_weight.transpose()),
                             detail::times(tape.dgates, gate_weight.transpose()));
    }
    /// Adds the gradient of a memory, or of two.
    void add_memory_inputs(const RowMatrix<T>& dk, const RowMatrix<T>& dv, MemoryGradients<T>& to,
                           const detail::ExecutorRef& executor) const {
        auto keys_to = rows_of(to.keys, dk.rows(), shape().d_memory);
        if (!to.values)
            return detail::add_products(keys_to, executor, detail::times(dk, key_weight.transpose()),
                                        detail::times(dv, value_weight.transpose()));
        auto values_to = rows_of(to.values, dv.rows(), shape().d_value_memory);
        detail::add_product(keys_to, dk, key_weight.transpose(), executor);
        detail::add_product(values_to, dv, value_weight.transpose(), executor);
    }

    /// The rows that keys come from, and values.
    static const RowMatrix<T>& keys_from(const Tape& tape) {
        return tape.call == BlockCall::self ? tape.x : tape.memory;
    }
    static const RowMatrix<T>& values_from(const Tape& tape) {
        return tape.call == BlockCall::memories ? tape.value_memory : keys_from(tape);
    }

    /// An output of that shape as an Eigen object.
    static auto rows_of(Output<T>& output, Index rows, Index columns) {
        const auto view = output.as(1, 1, rows, columns);
        return detail::Slice<T>(view.data, view.rows, view.columns, {view.row_stride, view.column_stride});
    }

private:
    /// Where projections go: what the backward pass of a norm reads must stay.
    RowMatrix<T>& before_steps(RowMatrix<T>& raw, RowMatrix<T>& x) const { return shape().qk_norm ? raw : x; }
    /// Keys of a memory stand from 0 on.
    static Index from_start(Index) { return 0; }
    /// What the heads give to the projection back.
    const RowMatrix<T>& gated(const Tape& tape) const {
        return shape().gate == OutputGate::none ? tape.context : tape.gated;
    }
    static detail::SequencesRef offsets(const std::vector<Index>& of) {
        return detail::SequencesRef(std::span<const Index>(of));
    }
};

}  // namespace attend

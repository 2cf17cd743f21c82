#pragma once
/// \file
/// What a multi-head block refuses, as far as that does not know the attention.

#include <string_view>
#include <type_traits>

#include <attend/core/gradient_check.hpp>
#include <attend/layer/multi_head_projections.hpp>

namespace attend::inline ATTEND_ABI {

/// The projections, and the checks of a call on them: everything is asked before anything is written.
template <class T>
class MultiHeadChecks : public MultiHeadProjections<T> {
    using Projections = MultiHeadProjections<T>;

public:
    using typename Projections::Matrix;
    using Tape = MultiHeadTape<T>;  ///< what a forward call records
    using Projections::gate_bias, Projections::gate_weight, Projections::k_norm, Projections::q_norm;
    using Projections::key_bias, Projections::key_weight, Projections::output_bias, Projections::output_weight,
        Projections::query_bias, Projections::query_weight, Projections::value_bias, Projections::value_weight;
    using Projections::shape;

protected:
    template <class, class>
    friend class MultiHeadCall;  // asks it of gradients in another scalar

    using Projections::Projections;

    /// `copy` is where the tape keeps the input. Throws where copying it there would read what it has overwritten.
    template <class X>
    static void check_input(const X& x, std::string_view name, Index width, const RowMatrix<T>& copy) {
        static_assert(std::is_same_v<typename X::Scalar, T>,
                      "attend: the inputs of a block must have its scalar type: cast them first");
        detail::require(x.cols() == width, detail::named(name, x.rows(), x.cols()), " must have ", width, " columns");
        if (static_cast<const void*>(&x) != &copy) check_source(x, name, copy);
    }
    template <class X>
    static void check_source(const X& x, std::string_view name, const auto& written) {
        if constexpr (detail::DenseMemory<X>) {
            if (detail::may_overlap(detail::view_of(x.data(), x), detail::view_of(written.data(), written)))
                detail::refuse(detail::named(name, x.rows(), x.cols()),
                               " is memory of the tape, which the call overwrites");
        }
    }
    /// The same of what a step overwrites.
    template <class X>
    static void check_step_source(const X& x, std::string_view name, const Tape& tape) {
        for (const auto& memory : tape.step_memory)
            check_source(x, name, Eigen::Map<const ColumnVector<T>>(memory.data(), std::ssize(memory)));
    }
    template <class M>
    static void check_parameter(const M& parameter, std::string_view name, Index rows, Index columns) {
        if (parameter.rows() != rows || parameter.cols() != columns)
            detail::refuse("multi_head: ", detail::named(name, parameter.rows(), parameter.cols()), " must be ", rows,
                           "x", columns, ", as the shape of the block says");
    }
    /// Users may have assigned other ones.
    void check_parameters() const {
        const Index q = this->query_width(), keys = this->key_width(), values = this->value_width(),
                    one = shape().bias ? 1 : 0;
        check_parameter(query_weight, "query_weight", shape().d_model, q);
        check_parameter(key_weight, "key_weight", shape().d_memory, keys);
        check_parameter(value_weight, "value_weight", shape().d_value_memory, values);
        check_parameter(output_weight, "output_weight", q, shape().d_model);
        check_parameter(query_bias, "query_bias", one * q, 1);
        check_parameter(key_bias, "key_bias", one * keys, 1);
        check_parameter(value_bias, "value_bias", one * values, 1);
        check_parameter(output_bias, "output_bias", one * shape().d_model, 1);
        const Index gates = this->gate_width(), gains = shape().qk_norm ? shape().d_head : 0;
        check_parameter(gate_weight, "gate_weight", shape().d_model, gates);
        check_parameter(gate_bias, "gate_bias", one * gates, 1);
        check_parameter(q_norm, "q_norm", gains, 1);
        check_parameter(k_norm, "k_norm", gains, 1);
    }
    /// Throws where keys and values cannot come from one input.
    void check_one_memory() const {
        detail::require(shape().d_value_memory == shape().d_memory, "keys and values of this block come from memories ",
                        "of different widths, d_memory ", shape().d_memory, " and d_value_memory ",
                        shape().d_value_memory, ": give both, keys_from and values_from");
    }
    void check_self() const {
        detail::require(shape().d_memory == shape().d_model, "self-attention needs d_memory (", shape().d_memory,
                        ") equal to d_model (", shape().d_model, ")");
        check_one_memory();
    }
    template <class K, class V>
    static void check_rows(const K& keys_from, const V& values_from) {
        detail::require(keys_from.rows() == values_from.rows(),
                        detail::named("keys_from", keys_from.rows(), keys_from.cols()), " and ",
                        detail::named("values_from", values_from.rows(), values_from.cols()),
                        " must have one row each for every key");
    }
    /// Throws where an output shares memory with a matrix that the call reads.
    template <class S, class M>
    static void check_apart(const Output<S>& output, std::string_view name, const M& matrix, std::string_view of) {
        if (output) check_apart(output, detail::Reach(output.given()), name, matrix, of);
    }
    /// The same of all that the tape holds and of these parameters.
    template <class S>
    void check_apart(const Output<S>& output, std::string_view name, const Tape& tape) const {
        if (!output) return;
        const detail::Reach reach(output.given());
        const auto apart = [&](const auto& matrix, std::string_view of) {
            check_apart(output, reach, name, matrix, of);
        };
        for (const auto& memory : tape.step_memory)
            apart(Eigen::Map<const ColumnVector<T>>(memory.data(), std::ssize(memory)), "the tape's memory of steps");
        apart(tape.x, "the tape's x"), apart(tape.memory, "the tape's memory"), apart(tape.q, "the tape's q");
        apart(tape.value_memory, "the tape's value_memory");
        apart(tape.k, "the tape's k"), apart(tape.v, "the tape's v"), apart(tape.context, "the tape's context");
        apart(tape.lse, "the tape's lse"), apart(tape.dq, "the tape's dq"), apart(tape.dk, "the tape's dk");
        apart(tape.dv, "the tape's dv"), apart(tape.dcontext, "the tape's dcontext");
        apart(tape.raw_q, "the tape's raw_q"), apart(tape.raw_k, "the tape's raw_k");
        apart(tape.gates, "the tape's gates"), apart(tape.gated, "the tape's gated");
        apart(tape.dgates, "the tape's dgates"), apart(tape.dgain, "the tape's dgain");
        for (const Matrix* weight : {&query_weight, &key_weight, &value_weight, &output_weight, &gate_weight})
            apart(*weight, "a parameter of the block");
        for (const ColumnVector<T>* vector :
             {&query_bias, &key_bias, &value_bias, &output_bias, &gate_bias, &q_norm, &k_norm})
            apart(*vector, "a parameter of the block");
    }
    /// Throws unless the tape holds a call of a block of these parameters' shapes, with so many keys and columns of
    /// LSE.
    void check_tape(const Tape& tape, Index keys, Index lse_columns) const {
        detail::require(tape.call != BlockCall::step, "backward: the tape was a step's, which records nothing");
        const Index rows = tape.x.rows(), q = this->query_width();
        const auto held = [](const auto& matrix, std::string_view name, Index wanted_rows, Index wanted_columns) {
            if (matrix.rows() != wanted_rows || matrix.cols() != wanted_columns)
                detail::refuse("backward: the tape holds no call of this block: its ",
                               detail::named(name, matrix.rows(), matrix.cols()), " must be ", wanted_rows, "x",
                               wanted_columns);
        };
        const bool crosses = tape.call == BlockCall::memory || tape.call == BlockCall::memories;
        held(tape.x, "x", rows, shape().d_model);
        if (crosses) held(tape.memory, "memory", keys, shape().d_memory);
        if (tape.call == BlockCall::memories) held(tape.value_memory, "value_memory", keys, shape().d_value_memory);
        held(tape.q, "q", rows, q);
        const bool projects_keys = crosses || tape.call == BlockCall::self;
        if (projects_keys) held(tape.k, "k", keys, this->key_width()), held(tape.v, "v", keys, this->value_width());
        detail::require(tape.normed == shape().qk_norm.has_value(),
                        "backward: the tape holds no call of this block: its queries and keys were ",
                        tape.normed ? "normed" : "not normed");
        if (shape().qk_norm) {
            held(tape.raw_q, "raw_q", rows, q);
            if (projects_keys) held(tape.raw_k, "raw_k", keys, this->key_width());
        }
        held(tape.gates, "gates", rows, this->gate_width());
        if (shape().gate != OutputGate::none) held(tape.gated, "gated", rows, q);
        held(tape.context, "context", rows, q), held(tape.lse, "lse", rows, lse_columns);
    }
    /// What `backward` is given, and where it adds gradients; `check_apart` says what these must not share.
    template <class DY>
    void check_gradients(const Tape& tape, const DY& dy, const Output<T>& dx) const {
        static_assert(std::is_same_v<typename DY::Scalar, T>,
                      "attend: the gradients of a block must have its scalar type: cast them first");
        const Index rows = tape.x.rows();
        detail::require(dy.rows() == rows && dy.cols() == shape().d_model, detail::named("dy", dy.rows(), dy.cols()),
                        " must be ", rows, "x", shape().d_model, ", as the result of the call that the tape holds");
        for (const RowMatrix<T>* written : {&tape.dq, &tape.dk, &tape.dv, &tape.dcontext, &tape.dgates})
            check_source(dy, "dy", *written);
        detail::require(static_cast<bool>(dx), "the gradient dx must be given");
        dx.check("dx", 1, 1, rows, shape().d_model);
    }
    /// The same of the gradients of memories, of a call of that kind, for each of which `apart(output, name)` is asked.
    template <class Apart>
    void check_memory_gradients(BlockCall call, Index keys, const MemoryGradients<T>& to, const Apart& apart) const {
        const bool both = call == BlockCall::memories;
        if (!both && call != BlockCall::memory) return;
        const std::string_view name = both ? "dkeys_from" : "dmemory";
        detail::require(static_cast<bool>(to.keys), "the gradient ", name, " must be given");
        detail::require(!both || static_cast<bool>(to.values), "the gradient dvalues_from must be given");
        to.keys.check(name, 1, 1, keys, shape().d_memory);
        to.values.check("dvalues_from", 1, 1, keys, shape().d_value_memory);
        apart(to.keys, name);
        if (!both) return;
        apart(to.values, std::string_view("dvalues_from"));
        detail::require_apart(detail::Place(to.keys, name), detail::Place(to.values, "dvalues_from"));
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

private:
    /// `reach`: the output's. Matrices in one piece are seen to be apart at once.
    template <class S, class M>
    static void check_apart(const Output<S>& output, const detail::Reach& reach, std::string_view name, const M& matrix,
                            std::string_view of) {
        if constexpr (std::is_base_of_v<Eigen::PlainObjectBase<M>, M>) {
            const bool apart = !reach.meets({matrix.data(), matrix.data() + matrix.size()});
            if (apart && output.object() != &matrix) [[likely]]
                return;
        }
        const auto view = detail::view_of(matrix.data(), matrix);
        if (output.object() == &matrix || detail::may_overlap(output.given(), view))
            detail::refuse_alias(name, output.given(), of, view);
    }
};

}  // namespace attend

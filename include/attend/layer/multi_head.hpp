#pragma once
/// \file
/// Multi-head attention.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <attend/attention.hpp>
#include <attend/core/gradient_check.hpp>
#include <attend/core/random.hpp>
#include <attend/layer/linear.hpp>
#include <attend/layer/multi_head_options.hpp>

namespace attend::inline ATTEND_ABI {

/// concat(head_1 … head_h) W_o + b_o with head_i = attention(x W_q, memory W_k, memory W_v), for any attention A
/// (Vaswani et al. 2017; grouped heads: Ainslie et al. 2023). All heads share the value `attention`; what differs
/// between them (ALiBi slopes, sinks, …) it takes by head. Weights are in × out: y = x W + b. Throws
/// `std::invalid_argument` where shapes do not fit.
///
/// Calls with a tape, a workspace and outputs that have served one of their shape before use no heap, and up to 256 KB
/// of stack for the products of the projections, which are Eigen's: in a build with OpenMP they use the threads of
/// `Eigen::nbThreads()`, whatever the executor.
template <class T, class A = ScaledDotProductAttention>
class MultiHeadAttention {
public:
    using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
    using Tape = MultiHeadTape<T>;
    using Options = MultiHeadOptions<T>;
    using BackwardOptions = MultiHeadBackwardOptions<MultiHeadAttention>;

    Matrix query_weight, key_weight, value_weight, output_weight;
    ColumnVector<T> query_bias, key_bias, value_bias, output_bias;  ///< empty without bias
    std::remove_const_t<A> attention;

    /// Xavier-uniform weights from `seed`, biases 0.
    explicit MultiHeadAttention(const MultiHeadShape& shape, std::remove_const_t<A> attention_ = {},
                                std::uint64_t seed = 0)
        : attention(std::move(attention_)), shape_(completed(shape)) {
        const Index query_width = shape_.heads * shape_.d_head, kv_width = shape_.kv_heads * shape_.d_head;
        query_weight.resize(shape_.d_model, query_width);
        key_weight.resize(shape_.d_memory, kv_width);
        value_weight.resize(shape_.d_memory, kv_width);
        output_weight.resize(query_width, shape_.d_model);
        Random random(seed);
        for (Matrix* weight : {&query_weight, &key_weight, &value_weight, &output_weight}) fill_xavier(*weight, random);
        if (!shape_.bias) return;
        query_bias.setZero(query_width);
        key_bias.setZero(kv_width);
        value_bias.setZero(kv_width);
        output_bias.setZero(shape_.d_model);
    }

    const MultiHeadShape& shape() const { return shape_; }

    static void parameters(auto& self, auto&& visit) {
        visit("query_weight", self.query_weight);
        visit("key_weight", self.key_weight);
        visit("value_weight", self.value_weight);
        visit("output_weight", self.output_weight);
        if (self.shape_.bias) {
            visit("query_bias", self.query_bias);
            visit("key_bias", self.key_bias);
            visit("value_bias", self.value_bias);
            visit("output_bias", self.output_bias);
        }
        visit("attention", self.attention);
    }

    /// Takes over the weights of PyTorch's `nn.MultiheadAttention`: `in_proj_weight` holds the query, key and value
    /// projections below each other, each out × in; so does `in_proj_bias`. Give empty biases for a block without.
    template <class InWeight, class InBias, class OutWeight, class OutBias>
    void import_torch(const Eigen::MatrixBase<InWeight>& in_proj_weight, const Eigen::MatrixBase<InBias>& in_proj_bias,
                      const Eigen::MatrixBase<OutWeight>& out_proj_weight,
                      const Eigen::MatrixBase<OutBias>& out_proj_bias) {
        const Index q = shape_.heads * shape_.d_head, kv = shape_.kv_heads * shape_.d_head;
        detail::require(shape_.d_memory == shape_.d_model,
                        "import_torch: a packed in_proj_weight needs a memory as wide as x, got d_model ",
                        shape_.d_model, " and d_memory ", shape_.d_memory);
        detail::require(in_proj_weight.rows() == q + 2 * kv && in_proj_weight.cols() == shape_.d_model,
                        detail::named("in_proj_weight", in_proj_weight.rows(), in_proj_weight.cols()), " must be ",
                        q + 2 * kv, "x", shape_.d_model);
        detail::require(out_proj_weight.rows() == shape_.d_model && out_proj_weight.cols() == q,
                        detail::named("out_proj_weight", out_proj_weight.rows(), out_proj_weight.cols()), " must be ",
                        shape_.d_model, "x", q);
        const Index in_bias = shape_.bias ? q + 2 * kv : 0, out_bias = shape_.bias ? shape_.d_model : 0;
        detail::require(in_proj_bias.size() == in_bias && out_proj_bias.size() == out_bias, "in_proj_bias (",
                        in_proj_bias.size(), ") and out_proj_bias (", out_proj_bias.size(), ") must hold ", in_bias,
                        " and ", out_bias, " values");
        query_weight = in_proj_weight.topRows(q).transpose().template cast<T>();
        key_weight = in_proj_weight.middleRows(q, kv).transpose().template cast<T>();
        value_weight = in_proj_weight.bottomRows(kv).transpose().template cast<T>();
        output_weight = out_proj_weight.transpose().template cast<T>();
        if (!shape_.bias) return;
        const ColumnVector<T> packed = in_proj_bias.reshaped().template cast<T>();
        query_bias = packed.head(q);
        key_bias = packed.segment(q, kv);
        value_bias = packed.tail(kv);
        output_bias = out_proj_bias.reshaped().template cast<T>();
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
        detail::require(shape_.d_memory == shape_.d_model, "self-attention needs d_memory (", shape_.d_memory,
                        ") equal to d_model (", shape_.d_model, ")");
        const auto sequences = options.sequences.offsets(), key_sequences = options.key_sequences.offsets();
        detail::require(key_sequences.empty() ||
                            std::equal(sequences.begin(), sequences.end(), key_sequences.begin(), key_sequences.end()),
                        "self-attention has the same sequences of queries and of keys: give sequences alone");
        Tape own;
        Tape& tape = options.tape == nullptr ? own : *options.tape;
        check_input(x, "x", shape_.d_model, tape.x);
        check_forward(x.rows(), x.rows(), y, options, options.sequences, tape);
        tape.x = x;
        tape.memory.resize(0, shape_.d_memory);
        tape.crosses = false;
        record(tape, options, options.sequences);
        run(tape, tape.x, y, options);
    }
    template <detail::Dense X, detail::Dense Memory>
    void forward(const X& x, const Memory& memory, Output<T> y, Options options = {}) const {
        Tape own;
        Tape& tape = options.tape == nullptr ? own : *options.tape;
        check_input(x, "x", shape_.d_model, tape.x);
        check_input(memory, "memory", shape_.d_memory, tape.memory);
        check_source(memory, "memory", tape.x);  // it would be gone when memory is copied
        const detail::SequencesRef& key_sequences = options.key_sequences ? options.key_sequences : options.sequences;
        check_forward(x.rows(), memory.rows(), y, options, key_sequences, tape);
        tape.x = x;
        tape.memory = memory;
        tape.crosses = true;
        record(tape, options, key_sequences);
        run(tape, tape.memory, y, options);
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
        backward_to_projections(tape, dy, options);
        auto dx_rows = rows_of(dx, tape.x);
        detail::add_products(dx_rows, detail::times(tape.dq, query_weight.transpose()),
                             detail::times(tape.dk, key_weight.transpose()),
                             detail::times(tape.dv, value_weight.transpose()));
        add_key_gradients(tape, tape.x, options);
    }
    /// The same for cross-attention.
    template <detail::DenseMemory DY>
    void backward(Tape& tape, const DY& dy, Output<T> dx, Output<T> dmemory, BackwardOptions options = {}) const {
        detail::require(
            tape.crosses,
            "backward: the tape holds a call without a memory, which has no gradient: backward(tape, dy, dx)");
        check_backward(tape, tape.memory.rows(), dy, dx, dmemory, options);
        backward_to_projections(tape, dy, options);
        auto dx_rows = rows_of(dx, tape.x), dmemory_rows = rows_of(dmemory, tape.memory);
        detail::add_product(dx_rows, tape.dq, query_weight.transpose());
        detail::add_products(dmemory_rows, detail::times(tape.dk, key_weight.transpose()),
                             detail::times(tape.dv, value_weight.transpose()));
        add_key_gradients(tape, tape.memory, options);
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
    static MultiHeadShape completed(MultiHeadShape shape) {
        detail::require(shape.d_model > 0 && shape.heads > 0, "multi_head: d_model and heads must be above 0, got ",
                        shape.d_model, " and ", shape.heads);
        if (shape.kv_heads == 0) shape.kv_heads = shape.heads;
        if (shape.d_memory == 0) shape.d_memory = shape.d_model;
        detail::require(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0, "multi_head: ", shape.kv_heads,
                        " kv_heads do not divide ", shape.heads, " heads");
        if (shape.d_head == 0) {
            detail::require(shape.d_model % shape.heads == 0, "multi_head: ", shape.heads,
                            " heads do not divide d_model ", shape.d_model, ": give d_head");
            shape.d_head = shape.d_model / shape.heads;
        }
        detail::require(shape.d_head > 0 && shape.d_memory > 0, "multi_head: d_head and d_memory must be above 0, got ",
                        shape.d_head, " and ", shape.d_memory);
        const auto size = [](Index n) { return static_cast<double>(n); };
        detail::require(size(shape.heads) * size(shape.d_head) * (size(shape.d_model) + size(shape.d_memory)) <
                            size(std::numeric_limits<Index>::max() / 16),
                        "multi_head: weights of ", shape.heads, " heads of ", shape.d_head, " features for widths ",
                        shape.d_model, " and ", shape.d_memory, " hold more than any memory");
        if (shape.rope) shape.rope->check(shape.d_head);
        return shape;
    }
    /// `copy` is where the tape keeps the input. Throws where copying it there would read what it has overwritten.
    template <class X>
    static void check_input(const X& x, std::string_view name, Index width, const RowMatrix<T>& copy) {
        static_assert(std::is_same_v<typename X::Scalar, T>,
                      "attend: the inputs of a block must have its scalar type: cast them first");
        detail::require(x.cols() == width, detail::named(name, x.rows(), x.cols()), " must have ", width, " columns");
        if (static_cast<const void*>(&x) != &copy) check_source(x, name, copy);
    }
    template <class X>
    static void check_source(const X& x, std::string_view name, const RowMatrix<T>& written) {
        if constexpr (detail::DenseMemory<X>) {
            if (detail::may_overlap(detail::view_of(x.data(), x), detail::view_of(written.data(), written)))
                detail::refuse(detail::named(name, x.rows(), x.cols()),
                               " is memory of the tape, which the call overwrites");
        }
    }
    template <class M>
    static void check_parameter(const M& parameter, std::string_view name, Index rows, Index columns) {
        if (parameter.rows() != rows || parameter.cols() != columns)
            detail::refuse("multi_head: ", detail::named(name, parameter.rows(), parameter.cols()), " must be ", rows,
                           "x", columns, ", as the shape of the block says");
    }
    /// Users may have assigned other ones.
    void check_parameters() const {
        const Index q = shape_.heads * shape_.d_head, kv = shape_.kv_heads * shape_.d_head, one = shape_.bias ? 1 : 0;
        check_parameter(query_weight, "query_weight", shape_.d_model, q);
        check_parameter(key_weight, "key_weight", shape_.d_memory, kv);
        check_parameter(value_weight, "value_weight", shape_.d_memory, kv);
        check_parameter(output_weight, "output_weight", q, shape_.d_model);
        check_parameter(query_bias, "query_bias", one * q, 1);
        check_parameter(key_bias, "key_bias", one * kv, 1);
        check_parameter(value_bias, "value_bias", one * kv, 1);
        check_parameter(output_bias, "output_bias", one * shape_.d_model, 1);
    }
    /// What the attention will be called on, checked before its operands are computed.
    detail::Problem<T> problem_of(Index rows, Index keys, Index query_offset, const detail::SequencesRef& sequences,
                                  const detail::SequencesRef& key_sequences, const Dropout& dropout) const {
        static constexpr T somewhere{};
        const StridedView<const T> q{&somewhere, 1, shape_.heads, rows, shape_.d_head},
            k{&somewhere, 1, shape_.kv_heads, keys, shape_.d_head};
        const detail::Problem<T> problem(q, k, k, query_offset, sequences, key_sequences, dropout);
        detail::check_call(attention, problem.shape, problem.q, problem.k);
        return problem;
    }
    /// Throws where an output shares memory with what the tape holds or with a parameter.
    template <class S>
    void check_apart(const Output<S>& output, std::string_view name, const Tape& tape) const {
        if (!output) return;
        const auto apart = [&](const auto& matrix, std::string_view of) {
            const auto view = detail::view_of(matrix.data(), matrix);
            if (output.object() == &matrix || detail::may_overlap(output.given(), view))
                detail::refuse_alias(name, output.given(), of, view);
        };
        apart(tape.x, "the tape's x"), apart(tape.memory, "the tape's memory"), apart(tape.q, "the tape's q");
        apart(tape.k, "the tape's k"), apart(tape.v, "the tape's v"), apart(tape.context, "the tape's context");
        apart(tape.lse, "the tape's lse"), apart(tape.dq, "the tape's dq"), apart(tape.dk, "the tape's dk");
        apart(tape.dv, "the tape's dv"), apart(tape.dcontext, "the tape's dcontext");
        const auto parameter = [&](const detail::ParameterName&, const auto& matrix) {
            if constexpr (detail::DenseMemory<decltype(matrix)>) apart(matrix, "a parameter of the block");
        };
        detail::walk_parameters(*this, {}, parameter);
    }
    void check_forward(Index rows, Index keys, const Output<T>& y, const Options& options,
                       const detail::SequencesRef& key_sequences, const Tape& tape) const {
        check_parameters();
        detail::check(options.dropout);
        const auto problem =
            problem_of(rows, keys, options.query_offset, options.sequences, key_sequences, options.dropout);
        detail::require(static_cast<bool>(y), "the output y must be given");
        y.check("y", 1, 1, rows, shape_.d_model);
        problem.check_pair_output(options.weights, "weights");
        check_apart(y, "y", tape);
        check_apart(options.weights, "weights", tape);
        detail::require_apart(detail::Place(options.weights, "weights"), detail::Place(y, "y"));
    }
    template <class DY>
    void check_backward(const Tape& tape, Index keys, const DY& dy, const Output<T>& dx, const Output<T>& dmemory,
                        const BackwardOptions& options) const {
        static_assert(std::is_same_v<typename DY::Scalar, T>,
                      "attend: the gradients of a block must have its scalar type: cast them first");
        check_parameters();
        const Index rows = tape.x.rows(), q = shape_.heads * shape_.d_head, kv = shape_.kv_heads * shape_.d_head;
        const auto held = [](const auto& matrix, std::string_view name, Index wanted_rows, Index wanted_columns) {
            if (matrix.rows() != wanted_rows || matrix.cols() != wanted_columns)
                detail::refuse("backward: the tape holds no call of this block: its ",
                               detail::named(name, matrix.rows(), matrix.cols()), " must be ", wanted_rows, "x",
                               wanted_columns);
        };
        held(tape.x, "x", rows, shape_.d_model);
        held(tape.memory, "memory", tape.crosses ? keys : 0, shape_.d_memory);
        held(tape.q, "q", rows, q), held(tape.k, "k", keys, kv), held(tape.v, "v", keys, kv);
        held(tape.context, "context", rows, q), held(tape.lse, "lse", rows, shape_.heads);
        problem_of(rows, keys, tape.query_offset, sequences_of(tape.sequences), sequences_of(tape.key_sequences),
                   tape.dropout);
        detail::require(dy.rows() == rows && dy.cols() == shape_.d_model, detail::named("dy", dy.rows(), dy.cols()),
                        " must be ", rows, "x", shape_.d_model, ", as the result of the call that the tape holds");
        for (const RowMatrix<T>* written : {&tape.dq, &tape.dk, &tape.dv, &tape.dcontext})
            check_source(dy, "dy", *written);
        detail::require(static_cast<bool>(dx), "the gradient dx must be given");
        detail::require(!tape.crosses || static_cast<bool>(dmemory), "the gradient dmemory must be given");
        dx.check("dx", 1, 1, rows, shape_.d_model);
        dmemory.check("dmemory", 1, 1, keys, shape_.d_memory);
        check_apart(dx, "dx", tape);
        check_apart(dmemory, "dmemory", tape);
        detail::require_apart(detail::Place(dx, "dx"), detail::Place(dmemory, "dmemory"));
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
    static void record(Tape& tape, const Options& options, const detail::SequencesRef& key_sequences) {
        const auto q = options.sequences.offsets(), k = key_sequences.offsets();
        tape.sequences.assign(q.begin(), q.end());
        tape.key_sequences.assign(k.begin(), k.end());
        tape.query_offset = options.query_offset;
        tape.dropout = options.dropout;
    }

    void run(Tape& tape, const RowMatrix<T>& memory, Output<T> y, Options& options) const {
        detail::linear(tape.x, query_weight, query_bias, tape.q);
        detail::linear(memory, key_weight, key_bias, tape.k);
        detail::linear(memory, value_weight, value_bias, tape.v);
        turn(tape.q, shape_.heads, tape.sequences, tape.query_offset, false);
        turn(tape.k, shape_.kv_heads, tape.key_sequences, 0, false);
        tape.context.resize(tape.x.rows(), output_weight.rows());
        tape.lse.resize(tape.x.rows(), shape_.heads);
        attention(heads(tape.q, shape_.heads), heads(tape.k, shape_.kv_heads), heads(tape.v, shape_.kv_heads),
                  heads(tape.context, shape_.heads),
                  {.workspace = options.workspace,
                   .executor = options.executor,
                   .lse = tape.lse,
                   .weights = options.weights,
                   .query_offset = tape.query_offset,
                   .sequences = sequences_of(tape.sequences),
                   .key_sequences = sequences_of(tape.key_sequences),
                   .dropout = tape.dropout});
        in_storage_order(y.as(1, 1, tape.x.rows(), shape_.d_model),
                         [&](auto rows) { detail::linear(tape.context, output_weight, output_bias, rows); });
    }

    /// From dy back to the gradients of the projected queries, keys and values.
    template <class DY>
    void backward_to_projections(Tape& tape, const DY& dy, BackwardOptions& options) const {
        tape.dcontext.setZero(tape.context.rows(), tape.context.cols());
        detail::add_product(tape.dcontext, dy, output_weight.transpose());
        tape.dq.setZero(tape.q.rows(), tape.q.cols());
        tape.dk.setZero(tape.k.rows(), tape.k.cols());
        tape.dv.setZero(tape.v.rows(), tape.v.cols());
        const Index h = shape_.heads, g = shape_.kv_heads;
        attention.backward(heads(tape.q, h), heads(tape.k, g), heads(tape.v, g), heads(tape.context, h), tape.lse,
                           heads(tape.dcontext, h), heads(tape.dq, h), heads(tape.dk, g), heads(tape.dv, g),
                           {.workspace = options.workspace,
                            .executor = options.executor,
                            .gradient = options.gradient == nullptr ? nullptr : &options.gradient->attention,
                            .query_offset = tape.query_offset,
                            .sequences = sequences_of(tape.sequences),
                            .key_sequences = sequences_of(tape.key_sequences),
                            .dropout = tape.dropout});
        turn(tape.dq, h, tape.sequences, tape.query_offset, true);
        turn(tape.dk, g, tape.key_sequences, 0, true);
        if (options.gradient == nullptr) return;
        detail::linear_parameters_backward(tape.context, dy, options.gradient->output_weight,
                                           options.gradient->output_bias);
        detail::linear_parameters_backward(tape.x, tape.dq, options.gradient->query_weight,
                                           options.gradient->query_bias);
    }
    static void add_key_gradients(const Tape& tape, const RowMatrix<T>& memory, BackwardOptions& options) {
        if (options.gradient == nullptr) return;
        detail::linear_parameters_backward(memory, tape.dk, options.gradient->key_weight, options.gradient->key_bias);
        detail::linear_parameters_backward(memory, tape.dv, options.gradient->value_weight,
                                           options.gradient->value_bias);
    }

    /// RoPE, each sequence from its own first position.
    void turn(RowMatrix<T>& x, Index count, const std::vector<Index>& offsets, Index first, bool back) const {
        if (!shape_.rope) return;
        const std::size_t sequences = offsets.empty() ? 1 : offsets.size() - 1;
        for (std::size_t s = 0; s < sequences; ++s) {
            const Index begin = offsets.empty() ? 0 : offsets[s], end = offsets.empty() ? x.rows() : offsets[s + 1];
            const auto view = heads(x.middleRows(begin, end - begin), count);
            back ? shape_.rope->inverse(view, first) : (*shape_.rope)(view, first);
        }
    }

    /// Calls `f` with a matrix as an Eigen object that knows its storage order: a product writes lines that it knows to
    /// be contiguous up to twice as fast.
    template <class F>
    static void in_storage_order(const StridedView<T>& y, const F& f) {
        using Outer = Eigen::OuterStride<>;
        if (y.column_stride == 1) {
            f(Eigen::Map<RowMatrix<T>, Eigen::Unaligned, Outer>(y.data, y.rows, y.columns, Outer(y.row_stride)));
        } else if (y.row_stride == 1) {
            f(Eigen::Map<Matrix, Eigen::Unaligned, Outer>(y.data, y.rows, y.columns, Outer(y.column_stride)));
        } else {
            f(detail::Slice<T>(y.data, y.rows, y.columns, {y.row_stride, y.column_stride}));
        }
    }

    /// An output with the shape of `like` as an Eigen object.
    template <class Like>
    static auto rows_of(Output<T>& output, const Like& like) {
        const auto view = output.as(1, 1, like.rows(), like.cols());
        return detail::Slice<T>(view.data, view.rows, view.columns, {view.row_stride, view.column_stride});
    }

    MultiHeadShape shape_;
};

}  // namespace attend

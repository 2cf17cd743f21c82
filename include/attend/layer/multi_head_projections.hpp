#pragma once
/// \file
/// All of a multi-head block but its attention.

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <attend/call/problem.hpp>
#include <attend/core/random.hpp>
#include <attend/layer/linear.hpp>
#include <attend/layer/multi_head_options.hpp>

namespace attend::inline ATTEND_ABI {

/// The linear maps around the heads of a multi-head block, and all else in it that does not know the attention: so a
/// program with blocks of many attentions holds it once a scalar type. Weights are in × out: y = x W + b.
template <class T>
class MultiHeadProjections {
public:
    using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
    using Tape = MultiHeadTape<T>;
    using Packed = PackedProjections<T>;
    using Rows = Eigen::Ref<const RowMatrix<T>, 0, Eigen::OuterStride<>>;

    Matrix query_weight, key_weight, value_weight, output_weight;
    ColumnVector<T> query_bias, key_bias, value_bias, output_bias;  ///< empty without bias

    const MultiHeadShape& shape() const { return shape_; }

    /// The weights as they are now, packed for the products of forward calls: of use where these are many.
    Packed pack() const
        requires std::is_same_v<T, Compute<T>>
    {
        return Packed(query_weight, key_weight, value_weight, output_weight);
    }

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

protected:
    /// Xavier-uniform weights from `seed`, biases 0.
    explicit MultiHeadProjections(const MultiHeadShape& shape, std::uint64_t seed) : shape_(completed(shape)) {
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

    static void record(Tape& tape, const MultiHeadOptions<T>& options, const detail::SequencesRef& key_sequences) {
        const auto q = options.sequences.offsets(), k = key_sequences.offsets();
        tape.sequences.assign(q.begin(), q.end());
        tape.key_sequences.assign(k.begin(), k.end());
        tape.query_offset = options.query_offset;
        tape.source = tape.steps = false;
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
    /// The queries of x, for the tape, whose sequences and offset stand, and room for what is made of them.
    void project_queries(const Rows& x, Tape& tape, const detail::ExecutorRef& executor, const Packed* packed) const {
        detail::linear(x, query_weight, query_bias, tape.q, executor, packed ? &packed->query() : nullptr);
        turn(tape.q, shape_.heads, tape.sequences, tape.query_offset, false);
        tape.context.resize(x.rows(), output_weight.rows());
    }
    /// The keys and values of the rows of `memory`.
    void project_memory(const Rows& memory, const std::vector<Index>& sequences, RowMatrix<T>& k, RowMatrix<T>& v,
                        const detail::ExecutorRef& executor, const Packed* packed = nullptr) const {
        detail::linear(memory, key_weight, key_bias, k, executor, packed ? &packed->key() : nullptr);
        detail::linear(memory, value_weight, value_bias, v, executor, packed ? &packed->value() : nullptr);
        turn(k, shape_.kv_heads, sequences, 0, false);
    }
    /// The rows of a step, in memory that is kept for the largest.
    using StepMatrix = Eigen::Map<RowMatrix<T>>;
    struct StepRows {
        StepMatrix q, k, v, context;
    };
    template <class C>
    static auto kept(std::vector<C>& memory, Index rows, Index columns) {
        const auto size = static_cast<std::size_t>(rows * columns);
        if (memory.size() < size) memory.resize(size);
        return Eigen::Map<RowMatrix<C>>(memory.data(), rows, columns);
    }
    /// The queries, keys and values of the rows of sequences, the first of which stands at `first(sequence)`, and room
    /// for what is made of them. Each sequence has the bits that it has alone.
    template <class First>
    StepRows project_sequences(const Rows& x, const detail::SequencesRef& sequences, const First& first, Tape& tape,
                               const detail::ExecutorRef& executor, const Packed* packed) const {
        auto& memory = tape.step_memory;
        StepRows rows{kept(memory[1], x.rows(), query_weight.cols()), kept(memory[2], x.rows(), key_weight.cols()),
                      kept(memory[3], x.rows(), value_weight.cols()), kept(memory[4], x.rows(), output_weight.rows())};
        const auto map = [&](const Matrix& weight, const ColumnVector<T>& bias, StepMatrix& y,
                             const auto* packed_weight) {
            detail::linear_by_sequences(x, sequences, weight, bias, y, executor, packed_weight);
        };
        map(query_weight, query_bias, rows.q, packed ? &packed->query() : nullptr);
        map(key_weight, key_bias, rows.k, packed ? &packed->key() : nullptr);
        map(value_weight, value_bias, rows.v, packed ? &packed->value() : nullptr);
        turn(rows.q, shape_.heads, sequences, first, false);
        turn(rows.k, shape_.kv_heads, sequences, first, false);
        return rows;
    }
    /// y from the heads' outputs of such rows.
    void project_sequences_back(const StepRows& rows, const detail::SequencesRef& sequences, Output<T>& y,
                                const detail::ExecutorRef& executor, const Packed* packed) const {
        in_storage_order(y.as(1, 1, rows.context.rows(), shape_.d_model), [&](auto to) {
            detail::linear_by_sequences(rows.context, sequences, output_weight, output_bias, to, executor,
                                        packed ? &packed->output() : nullptr);
        });
    }
    /// y from the heads' outputs.
    void project_back(const Tape& tape, Output<T>& y, const detail::ExecutorRef& executor, const Packed* packed) const {
        in_storage_order(y.as(1, 1, tape.context.rows(), shape_.d_model), [&](auto rows) {
            detail::linear(tape.context, output_weight, output_bias, rows, executor,
                           packed ? &packed->output() : nullptr);
        });
    }

    /// From dy, the gradient of y, to that of the heads' outputs; those of q, k and v start at 0.
    template <class DY>
    void start_backward(Tape& tape, const DY& dy, const detail::ExecutorRef& executor) const {
        tape.dcontext.setZero(tape.context.rows(), tape.context.cols());
        detail::add_product(tape.dcontext, dy, output_weight.transpose(), executor);
        tape.dq.setZero(tape.q.rows(), tape.q.cols());
        tape.dk.setZero(tape.k.rows(), tape.k.cols());
        tape.dv.setZero(tape.v.rows(), tape.v.cols());
    }
    /// Adds the parameters' gradients, given that of q, after which dy is not read any more, or those of k and v.
    template <class DY>
    void add_query_parameters(Tape& tape, const DY& dy, MultiHeadProjections* gradient,
                              const detail::ExecutorRef& executor) const {
        turn(tape.dq, shape_.heads, tape.sequences, tape.query_offset, true);
        if (gradient == nullptr) return;
        detail::linear_parameters_backward(tape.context, dy, gradient->output_weight, gradient->output_bias, executor);
        detail::linear_parameters_backward(tape.x, tape.dq, gradient->query_weight, gradient->query_bias, executor);
    }
    void add_memory_parameters(const RowMatrix<T>& memory, const std::vector<Index>& sequences, RowMatrix<T>& dk,
                               const RowMatrix<T>& dv, MultiHeadProjections* gradient,
                               const detail::ExecutorRef& executor) const {
        turn(dk, shape_.kv_heads, sequences, 0, true);
        if (gradient == nullptr) return;
        detail::linear_parameters_backward(memory, dk, gradient->key_weight, gradient->key_bias, executor);
        detail::linear_parameters_backward(memory, dv, gradient->value_weight, gradient->value_bias, executor);
    }
    /// Adds the gradient of x, which is the memory too.
    void add_inputs(const Tape& tape, Output<T>& dx, const detail::ExecutorRef& executor) const {
        auto dx_rows = rows_of(dx, tape.x.rows(), tape.x.cols());
        detail::add_products(dx_rows, executor, detail::times(tape.dq, query_weight.transpose()),
                             detail::times(tape.dk, key_weight.transpose()),
                             detail::times(tape.dv, value_weight.transpose()));
    }
    /// Adds the gradients of x and of a memory beside it.
    void add_inputs(const Tape& tape, Output<T>& dx, Output<T>& dmemory, const detail::ExecutorRef& executor) const {
        add_query_inputs(tape, dx, executor);
        add_memory_inputs(tape.dk, tape.dv, dmemory, executor);
    }
    void add_query_inputs(const Tape& tape, Output<T>& dx, const detail::ExecutorRef& executor) const {
        auto dx_rows = rows_of(dx, tape.x.rows(), tape.x.cols());
        detail::add_product(dx_rows, tape.dq, query_weight.transpose(), executor);
    }
    void add_memory_inputs(const RowMatrix<T>& dk, const RowMatrix<T>& dv, Output<T>& dmemory,
                           const detail::ExecutorRef& executor) const {
        auto dmemory_rows = rows_of(dmemory, dk.rows(), shape_.d_memory);
        detail::add_products(dmemory_rows, executor, detail::times(dk, key_weight.transpose()),
                             detail::times(dv, value_weight.transpose()));
    }

    /// The rows that keys and values come from.
    static const RowMatrix<T>& memory_of(const Tape& tape) { return tape.crosses ? tape.memory : tape.x; }

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

    /// RoPE, each sequence from its own first position.
    template <class X, class First>
    void turn(X& x, Index count, const detail::SequencesRef& sequences, const First& first, bool back) const {
        if (!shape_.rope) return;
        const bool whole = !sequences;
        for (Index s = 0; s < (whole ? 1 : sequences.count()); ++s) {
            const Index begin = whole ? 0 : sequences.begin(s), rows = whole ? x.rows() : sequences.length(s);
            const auto view = heads(x.middleRows(begin, rows), count);
            back ? shape_.rope->inverse(view, first(s)) : (*shape_.rope)(view, first(s));
        }
    }
    void turn(RowMatrix<T>& x, Index count, const std::vector<Index>& offsets, Index first, bool back) const {
        turn(
            x, count, detail::SequencesRef(std::span<const Index>(offsets)), [&](Index) { return first; }, back);
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

    /// An output of that shape as an Eigen object.
    static auto rows_of(Output<T>& output, Index rows, Index columns) {
        const auto view = output.as(1, 1, rows, columns);
        return detail::Slice<T>(view.data, view.rows, view.columns, {view.row_stride, view.column_stride});
    }

    MultiHeadShape shape_;
};

}  // namespace attend

// Multi-head blocks of many shapes and attentions: gradients of the inputs and of every parameter, by finite
// differences.

#include <attend/attend.hpp>
#include <support/finite_difference.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_gradients {
namespace {

struct Inputs {
    RowMatrix<double> x, memory;  ///< memory is empty for self-attention
    std::vector<Index> sequences{}, key_sequences{};
    Index query_offset = 0;

    Inputs(const MultiHeadShape& shape, Index rows, Index memory_rows) {
        Random random(2);
        x = random_matrix<double>(random, rows, shape.d_model);
        memory = random_matrix<double>(random, memory_rows, shape.d_memory == 0 ? shape.d_model : shape.d_memory);
    }
    template <class Block>
    Outputs<double> forward(const Block& block, MultiHeadTape<double>* tape = nullptr) const {
        Outputs<double> y;
        const typename Block::Options options{.tape = tape,
                                              .weights = y.weights,
                                              .query_offset = query_offset,
                                              .sequences = attend::detail::SequencesRef(std::span(sequences)),
                                              .key_sequences = attend::detail::SequencesRef(std::span(key_sequences))};
        if (memory.rows() > 0) {
            block.forward(x, memory, y.out, options);
        } else {
            block.forward(x, y.out, options);
        }
        return y;
    }
};

template <class Block>
void check_block(Block block, Inputs in) {
    Random random(3);
    visit_parameters(block, [&](std::string_view, auto& matrix) {  // biases of 0 would hide a mistake
        for (double& value : matrix.reshaped()) value += random_number(random, 0.3);
    });
    const RowMatrix<double> dy = random_matrix<double>(random, in.x.rows(), in.x.cols());
    MultiHeadTape<double> tape;
    in.forward(block, &tape);
    RowMatrix<double> dx, dmemory;
    Block gradient = zero_gradient(block);
    if (in.memory.rows() > 0) {
        block.backward(tape, dy, dx, dmemory, {.gradient = &gradient});
    } else {
        block.backward(tape, dy, dx, {.gradient = &gradient});
    }

    const Loss loss([&] { return in.forward(block); }, dy);
    check_slopes(loss, span_of(in.x), span_of(dx), "dx");
    check_slopes(loss, span_of(in.memory), span_of(dmemory), "dmemory");
    std::vector<std::span<double>> gradients;
    visit_parameters(gradient, [&](std::string_view, auto& matrix) { gradients.push_back(span_of(matrix)); });
    std::size_t i = 0;
    visit_parameters(
        block, [&](std::string_view name, auto& matrix) { check_slopes(loss, span_of(matrix), gradients[i++], name); });
}

template <class A>
MultiHeadAttention<double, A> block_of(const MultiHeadShape& shape, const A& attention) {
    return MultiHeadAttention<double, A>(shape, attention, 1);
}

}  // namespace

TEST_CASE("self-attention: grouped heads of their own width, with and without bias") {
    MultiHeadShape shape{.d_model = 6, .heads = 4, .kv_heads = 2, .d_head = 3};
    shape.bias = GENERATE(true, false);
    check_block(block_of(shape, scaled_dot_product >> causal), Inputs(shape, 5, 0));
}

TEST_CASE("cross-attention to a memory of its own width") {
    const MultiHeadShape shape{.d_model = 4, .heads = 2, .d_memory = 5};
    check_block(block_of(shape, scaled_dot_product >> soft_cap(2.0)), Inputs(shape, 3, 6));
}

TEST_CASE("RoPE in either layout, whole or partial, from any position on") {
    const RopeLayout layout = GENERATE(RopeLayout::half_split, RopeLayout::interleaved);
    const MultiHeadShape shape{
        .d_model = 8, .heads = 2, .kv_heads = 1, .rope = Rope{.layout = layout, .width = 2, .base = 20.0}};
    const auto block = block_of(shape, scaled_dot_product >> causal);
    Inputs self(shape, 5, 0), cross(shape, 3, 7);
    check_block(block, self);
    cross.query_offset = 4;
    check_block(block, cross);
    self.sequences = {0, 2, 5};
    check_block(block, self);
}

TEST_CASE("additive and general attention inside a block") {
    const MultiHeadShape shape{.d_model = 4, .heads = 2, .kv_heads = 1, .d_head = 3};
    check_block(block_of(shape, AdditiveAttention<double>(3, 3, 4, 5)), Inputs(shape, 3, 5));
    check_block(block_of(shape, GeneralAttention<double>(3, 3, 5) >> causal), Inputs(shape, 4, 0));
}

TEST_CASE("what differs from head to head: ALiBi slopes, sinks, spans") {
    const MultiHeadShape shape{.d_model = 8, .heads = 4, .kv_heads = 2};
    const Eigen::Vector4d spans(1.3, 2.2, 3.4, 2.7);
    check_block(block_of(shape, cosine(3) >> alibi(alibi_slopes(4)) >> causal >>
                                    softmax_with_sink(Eigen::Vector4d(-1, 0, 1, 2))),
                Inputs(shape, 5, 0));
    check_block(block_of(shape, scaled_dot_product >> adaptive_span(spans, 2.0)), Inputs(shape, 5, 6));
}

TEST_CASE("ragged batches, self and cross") {
    const MultiHeadShape shape{.d_model = 4, .heads = 2};
    const auto block = block_of(shape, scaled_dot_product >> causal);
    Inputs self(shape, 6, 0), cross(shape, 5, 8);
    self.sequences = {0, 1, 1, 6};
    check_block(block, self);
    cross.sequences = {0, 2, 5};
    cross.key_sequences = {0, 5, 8};
    check_block(block, cross);
}

}  // namespace test_multi_head_gradients

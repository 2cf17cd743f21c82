// Multi-head blocks of many shapes and attentions: gradients of the inputs and of every parameter, by finite
// differences.

#include <attend/attend.hpp>
#include <support/block_gradients.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_gradients {

TEST_CASE("self-attention: grouped heads of their own width, with and without bias") {
    MultiHeadShape shape{.d_model = 6, .heads = 4, .kv_heads = 2, .d_head = 3};
    shape.bias = GENERATE(true, false);
    check_block(block_of(shape, scaled_dot_product >> causal), BlockInputs(shape, 5, 0));
}

TEST_CASE("cross-attention to a memory of its own width") {
    const MultiHeadShape shape{.d_model = 4, .heads = 2, .d_memory = 5};
    check_block(block_of(shape, scaled_dot_product >> soft_cap(2.0)), BlockInputs(shape, 3, 6));
}

TEST_CASE("RoPE in either layout, whole or partial, from any position on") {
    const RopeLayout layout = GENERATE(RopeLayout::half_split, RopeLayout::interleaved);
    const MultiHeadShape shape{
        .d_model = 8, .heads = 2, .kv_heads = 1, .rope = Rope{.layout = layout, .width = 2, .base = 20.0}};
    const auto block = block_of(shape, scaled_dot_product >> causal);
    BlockInputs self(shape, 5, 0), cross(shape, 3, 7);
    check_block(block, self);
    cross.query_offset = 4;
    check_block(block, cross);
    self.sequences = {0, 2, 5};
    check_block(block, self);
}

TEST_CASE("RoPE by YaRN, whose magnitude has a gradient, and on the two axes of a grid") {
    MultiHeadShape shape{.d_model = 8, .heads = 2, .rope = Rope::yarn(4, {.factor = 4, .original = 16}, 20.0)};
    check_block(block_of(shape, scaled_dot_product >> causal), BlockInputs(shape, 5, 0));
    shape.rope = Rope{.base = 20.0, .positions = grid_positions(2, 3)};
    check_block(block_of(shape, scaled_dot_product), BlockInputs(shape, 6, 0));
}

TEST_CASE("queries and keys that are normed, alone and before RoPE") {
    MultiHeadShape shape{.d_model = 8, .heads = 2, .kv_heads = 1, .qk_norm = RmsNorm{.epsilon = 0.1}};
    BlockInputs self(shape, 5, 0), cross(shape, 3, 6);
    check_block(block_of(shape, scaled_dot_product >> causal), cross);
    shape.rope = Rope{.base = 20.0};
    self.sequences = {0, 2, 5};
    check_block(block_of(shape, scaled_dot_product >> causal), self);
    check_block(block_of(shape, AdditiveAttention<double>(4, 4, 3, 5)), BlockInputs(shape, 3, 5));
}

TEST_CASE("gates on what heads give, one for each feature or one for each head") {
    MultiHeadShape shape{.d_model = 6, .heads = 2, .kv_heads = 1, .d_head = 5};
    shape.gate = GENERATE(OutputGate::elementwise, OutputGate::headwise);
    shape.bias = GENERATE(true, false);
    check_block(block_of(shape, scaled_dot_product >> causal), BlockInputs(shape, 5, 0));
    shape.qk_norm = RmsNorm{};
    check_block(block_of(shape, scaled_dot_product >> causal), BlockInputs(shape, 3, 6));
}

TEST_CASE("additive and general attention inside a block") {
    const MultiHeadShape shape{.d_model = 4, .heads = 2, .kv_heads = 1, .d_head = 3};
    check_block(block_of(shape, AdditiveAttention<double>(3, 3, 4, 5)), BlockInputs(shape, 3, 5));
    check_block(block_of(shape, GeneralAttention<double>(3, 3, 5) >> causal), BlockInputs(shape, 4, 0));
}

TEST_CASE("what differs from head to head: ALiBi slopes, sinks, spans") {
    const MultiHeadShape shape{.d_model = 8, .heads = 4, .kv_heads = 2};
    const Eigen::Vector4d spans(1.3, 2.2, 3.4, 2.7);
    check_block(block_of(shape, cosine(3) >> alibi(alibi_slopes(4)) >> causal >>
                                    softmax_with_sink(Eigen::Vector4d(-1, 0, 1, 2))),
                BlockInputs(shape, 5, 0));
    check_block(block_of(shape, scaled_dot_product >> adaptive_span(spans, 2.0)), BlockInputs(shape, 5, 6));
}

TEST_CASE("ragged batches, self and cross") {
    const MultiHeadShape shape{.d_model = 4, .heads = 2};
    const auto block = block_of(shape, scaled_dot_product >> causal);
    BlockInputs self(shape, 6, 0), cross(shape, 5, 8);
    self.sequences = {0, 1, 1, 6};
    check_block(block, self);
    cross.sequences = {0, 2, 5};
    cross.key_sequences = {0, 5, 8};
    check_block(block, cross);
}

}  // namespace test_multi_head_gradients

#pragma once
/// \file
/// The gradients of a multi-head block, by finite differences.

#include <attend/layer/multi_head.hpp>
#include <support/finite_difference.hpp>

namespace attend::test {

struct BlockInputs {
    RowMatrix<double> x, memory;  ///< memory is empty for self-attention
    std::vector<Index> sequences{}, key_sequences{};
    Index query_offset = 0;

    BlockInputs(const MultiHeadShape& shape, Index rows, Index memory_rows) {
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
void check_block(Block block, BlockInputs in) {
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

}  // namespace attend::test

// A prepared memory: what calls on it give is what calls on the memory itself give.

#include <attend/layer/multi_head.hpp>

#include <attend/mask/causal.hpp>
#include <attend/modifier/bias.hpp>
#include <attend/modifier/soft_cap.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_memory {
namespace {

constexpr Index steps = 3;

template <class T, class Block>
void check(const Block& block, const std::vector<Index>& offsets, const std::vector<Index>& key_offsets,
           double tolerance) {
    CAPTURE(sizeof(T), offsets.size());
    const MultiHeadShape& shape = block.shape();
    Random random(7);
    const Index rows = offsets.back(), keys = key_offsets.back();
    const RowMatrix<T> source = random_matrix<T>(random, keys, shape.d_memory);
    const bool ragged = offsets.size() > 2;
    const attend::detail::KeptSequences cut = ragged ? attend::detail::KeptSequences(sequences(offsets))
                                                     : attend::detail::KeptSequences(),
                                        key_cut = ragged ? attend::detail::KeptSequences(sequences(key_offsets)) : cut;
    auto memory = block.prepare(source, key_cut);
    auto right = zero_gradient(block), found = right;
    RowMatrix<T> dsource, dmemory;
    MultiHeadTape<T> tape, prepared_tape;
    for (Index step = 0; step < steps; ++step) {
        const RowMatrix<T> x = random_matrix<T>(random, rows, shape.d_model),
                           dy = random_matrix<T>(random, rows, shape.d_model);
        RowMatrix<T> y, again, weights, weights_again, dx, dx_again;
        block.forward(
            x, source, y,
            {.tape = &tape, .weights = weights, .query_offset = 3, .sequences = cut, .key_sequences = key_cut});
        block.forward(x, memory, again,
                      {.tape = &prepared_tape, .weights = weights_again, .query_offset = 3, .sequences = cut});
        CHECK(same_bits(y, again));
        CHECK(same_bits(weights, weights_again));
        CHECK(same_bits(block(x, memory, {.query_offset = 3, .sequences = cut}), y));
        block.backward(tape, dy, dx, dsource, {.gradient = &right});
        block.backward(prepared_tape, dy, dx_again, memory, {.gradient = &found});
        CHECK(same_bits(dx, dx_again));
    }
    for (int i = 0; i < 2; ++i) block.add_gradients(memory, dmemory, {.gradient = &found});  // once is all
    CHECK(distance(dmemory, dsource) < tolerance);
    const auto expected = parameters_of(right);
    CHECK((parameters_of(found) - expected).norm() < tolerance * expected.norm());
}

template <class T, class A>
void check_block(const MultiHeadShape& shape, const A& attention, double tolerance) {
    const MultiHeadAttention<T, A> block(shape, attention, 5);
    check<T>(block, {0, 4}, {0, 30}, tolerance);
    check<T>(block, {0, 2, 2, 5}, {0, 7, 10, 21}, tolerance);
}

}  // namespace

TEST_CASE(
    "a block's calls on a prepared memory have the bits of those on the memory, and its gradients are their sum") {
    check_block<double>({.d_model = 12, .heads = 4, .kv_heads = 2, .d_memory = 10}, scaled_dot_product, 1e-12);
    check_block<double>({.d_model = 12, .heads = 2, .bias = false, .rope = Rope{}}, scaled_dot_product >> causal,
                        1e-12);
    check_block<double>({.d_model = 12,
                         .heads = 4,
                         .kv_heads = 2,
                         .d_memory = 10,
                         .rope = Rope{.width = 2},
                         .qk_norm = RmsNorm{},
                         .gate = OutputGate::elementwise},
                        scaled_dot_product >> causal, 1e-12);
    check_block<double>({.d_model = 12, .heads = 2}, AdditiveAttention<double>(6, 6, 5, 1) >> soft_cap(2.0), 1e-12);
    check_block<float>({.d_model = 12, .heads = 2}, cosine(3.0), 1e-4);
}

TEST_CASE("a memory is prepared for calls of any number of queries") {
    Random random(9);
    const Eigen::MatrixXd pairs = random_matrix<double>(random, 2, 6);
    const auto attention = scaled_dot_product >> bias(pairs);
    const MultiHeadAttention<double, decltype(attention)> block({.d_model = 4, .heads = 1}, attention, 1);
    const RowMatrix<double> x = random_matrix<double>(random, 2, 4), source = random_matrix<double>(random, 6, 4);
    CHECK(same_bits(block(x, block.prepare(source)), block(x, source)));
}

TEST_CASE("what does not fit a prepared memory is refused, before anything is written") {
    const MultiHeadAttention<double> block({.d_model = 6, .heads = 2, .d_memory = 4}, {}, 1);
    Random random(8);
    const RowMatrix<double> x = random_matrix<double>(random, 3, 6), source = random_matrix<double>(random, 5, 4);
    CHECK(refusal([&] { block.prepare(x); }) == "memory (3x6) must have 4 columns");
    CHECK(refusal([&] {
              block.prepare(source, sequences({0, 4}));
          }) == "sequences must end at the 5 rows of q (5x1), not at 4");
    auto memory = block.prepare(source), in_two = block.prepare(source, sequences({0, 2, 5}));
    RowMatrix<double> y, dx, dmemory;
    CHECK(refusal([&] { block.forward(x, in_two, y); }) ==
          "sequences: the memory was prepared with sequences, so that a call must be as well");
    CHECK(refusal([&] {
              block.forward(x, memory, y, {.sequences = sequences({0, 1, 3})});
          }) == "sequences: the memory was prepared without sequences, so that a call must be as well");
    CHECK(refusal([&] {
              block.forward(x, in_two, y, {.sequences = sequences({0, 1, 3}), .key_sequences = sequences({0, 1, 5})});
          }) == "key_sequences: the memory was prepared with other ones: leave them out");
    CHECK(y.size() == 0);

    MultiHeadTape<double> tape;
    block.forward(x, source, y, {.tape = &tape});
    CHECK(refusal([&] { block.backward(tape, x, dx, memory); }) ==
          "backward: the tape holds no call with a prepared memory");
    block.forward(x, memory, y, {.tape = &tape});
    CHECK(refusal([&] { block.backward(tape, x, dx, dmemory); }) ==
          "backward: the tape holds a call with a prepared memory, or a source of keys: give it that");
    block.backward(tape, x, dx, memory);
    const MultiHeadAttention<double> wider({.d_model = 6, .heads = 2, .d_memory = 9}, {}, 1);
    const std::string other =
        "the memory was prepared by a block of another shape: memory (5x4) with 2 heads of 3 features, not 9 columns "
        "with 2 heads of 3";
    CHECK(refusal([&] { wider.forward(x, memory, y); }) == other);
    CHECK(refusal([&] { wider.backward(tape, x, dx, memory); }) == other);
    CHECK(refusal([&] { wider.add_gradients(memory, dmemory); }) == other);
    CHECK(refusal([&] { block.backward(tape, x, dx, in_two); }) ==
          "backward: the tape holds a call with a memory of other sequences");
    block.backward(tape, 0 * x, dx, memory);  // an expression
    RowMatrix<double> wrong = RowMatrix<double>::Zero(5, 6);
    CHECK(refusal([&] { block.add_gradients(memory, wrong); }) == "dmemory (5x6) must be 5x4, or empty to be resized");
    auto gradient = zero_gradient(block);
    CHECK(refusal([&] {
              block.add_gradients(memory, Eigen::Map<RowMatrix<double>>(gradient.query_weight.data(), 5, 4),
                                  {.gradient = &gradient});
          }) == "gradient: query_weight (6x6) aliases dmemory (5x4): give the call memory of its own to write to");
    block.add_gradients(memory, dmemory, {.gradient = &gradient});
    CHECK((dmemory.rows() == 5 && !dmemory.isZero(0) && !gradient.key_weight.isZero(0)));
}

}  // namespace test_multi_head_memory

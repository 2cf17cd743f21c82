// A block refuses in words what cannot be right, before it writes anything: also weights that a user assigned, and
// tapes, gradients and outputs that belong to something else.

#include <attend/attend.hpp>

#include <limits>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_errors {
namespace {

using Matrix = RowMatrix<double>;
using Block = MultiHeadAttention<double>;

Matrix rows_of(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<double>(random, rows, columns);
}
Matrix sevens(Index rows, Index columns) { return Matrix::Constant(rows, columns, 7.0); }
bool untouched(const Matrix& x) { return (x.array() == 7.0).all(); }

/// What a call of 10 rows is refused with, which must leave y and the tape's x alone.
template <class B>
std::string refused_forward(const B& block, MultiHeadOptions<double> options = {}) {
    Matrix y = sevens(10, 8);
    MultiHeadTape<double> tape;
    if (options.tape == nullptr) options.tape = &tape;
    const Matrix before = options.tape->x;
    const std::string text = refusal([&] { block.forward(rows_of(10, 8, 1), y, options); });
    CHECK((text.empty() || untouched(y)));
    CHECK((text.empty() || same_bits(options.tape->x, before)));
    return text;
}

/// A call that has been recorded, and what its backward call needs.
struct Recorded {
    Block block{{.d_model = 8, .heads = 2}, {}, 1};
    Matrix x = rows_of(10, 8, 1), dy = rows_of(10, 8, 2), y{}, dx = sevens(10, 8);
    MultiHeadTape<double> tape{};
    Block gradient = zero_gradient(block);

    Recorded() { block.forward(x, y, {.tape = &tape}); }
    std::string backward() {
        const std::string text = refusal([&] { block.backward(tape, dy, dx, {.gradient = &gradient}); });
        CHECK((text.empty() || untouched(dx)));
        return text;
    }
};

}  // namespace

TEST_CASE("weights that another block has packed are refused") {
    const Block block({.d_model = 8, .heads = 2}, {}, 1), other({.d_model = 8, .heads = 2, .d_head = 3}, {}, 1);
    const auto packed = other.pack();
    CHECK(refused_forward(block, {.packed = &packed}) ==
          "packed: holds query_weight (8x6), but the block's is 8x8: pack that block");
}

TEST_CASE("sequences that do not cut the rows are refused before RoPE turns a row") {
    const Block block({.d_model = 8, .heads = 2, .rope = Rope{}}, {}, 1);
    CHECK(refused_forward(block, {.sequences = sequences({0, 4000})}) ==
          "sequences must end at the 10 rows of q (2 heads x 10x4), not at 4000");
    CHECK(refused_forward(block, {.sequences = sequences({0, 4})}) ==
          "sequences must end at the 10 rows of q (2 heads x 10x4), not at 4");
    CHECK(refused_forward(block, {.sequences = sequences({0, 10}), .key_sequences = sequences({0, 4, 10})}) ==
          "self-attention has the same sequences of queries and of keys: give sequences alone");
    Matrix y, x = rows_of(10, 8, 1), memory = rows_of(6, 8, 2);
    CHECK(refusal([&] {
              block.forward(x, memory, y, {.sequences = sequences({0, 10}), .key_sequences = sequences({0, 4000})});
          }) == "key_sequences must end at the 6 rows of k (2 heads x 6x4), not at 4000");
    CHECK(refusal([&] {
              block.forward(x, memory, y, {.sequences = sequences({0, 4, 10})});
          }) == "key_sequences must end at the 6 rows of k (2 heads x 6x4), not at 10");
    CHECK(refused_forward(block, {.query_offset = std::numeric_limits<Index>::max()}) ==
          "query_offset must be from -2^53 to 2^53, got 9223372036854775807");
    CHECK(y.size() == 0);
}

TEST_CASE("what the attention would refuse is refused before anything is projected") {
    const auto attention = scaled_dot_product >> alibi(Eigen::Vector3d(1, 2, 3));
    const MultiHeadAttention<double, decltype(attention)> block({.d_model = 8, .heads = 2}, attention, 1);
    CHECK(refused_forward(block) == "alibi: slope (3 values) must have one value a head, there are 2 heads");
    Matrix weights(3, 3);
    CHECK(refused_forward(Block({.d_model = 8, .heads = 2}), {.weights = weights}) ==
          "weights (3x3) must be 20x10, or empty to be resized");
}

TEST_CASE("shapes and RoPE that no memory or head can hold are refused where the block is made") {
    constexpr Index most = std::numeric_limits<Index>::max();
    CHECK(refusal([] { Block({.d_model = 8, .heads = most, .kv_heads = 1, .d_head = 2}); }) ==
          "multi_head: weights of 9223372036854775807 heads of 2 features for widths 8, 8 and 8 hold more than any "
          "memory");
    CHECK(refusal([] { Block({.d_model = 6, .heads = 2, .rope = Rope{}}); }) ==
          "rope: the width must be even and at most the 3 columns of a head, got 3");
    CHECK(refusal([] { Block({.d_model = 8, .heads = 2, .qk_norm = RmsNorm{.epsilon = -1}}); }) ==
          "rms_norm: epsilon must be a number that is not negative, got -1");
    CHECK(refusal([] { Block({.d_model = 8, .heads = 2, .rope = Rope{.base = -1}}); }) ==
          "rope: the base must be a number above 0, got -1");
}

TEST_CASE("weights that were assigned in another shape are refused by name") {
    const auto with = [](auto&& assign) {
        Block block({.d_model = 8, .heads = 2, .kv_heads = 1}, {}, 1);
        assign(block);
        return refused_forward(block);
    };
    const std::string end = ", as the shape of the block says";
    CHECK(with([](Block& b) { b.query_weight.setZero(2, 8); }) == "multi_head: query_weight (2x8) must be 8x8" + end);
    CHECK(with([](Block& b) { b.key_weight.setZero(8, 8); }) == "multi_head: key_weight (8x8) must be 8x4" + end);
    CHECK(with([](Block& b) { b.value_weight.setZero(8, 1); }) == "multi_head: value_weight (8x1) must be 8x4" + end);
    CHECK(with([](Block& b) { b.output_weight.resize(0, 0); }) == "multi_head: output_weight (0x0) must be 8x8" + end);
    CHECK(with([](Block& b) { b.query_bias.setZero(3); }) == "multi_head: query_bias (3x1) must be 8x1" + end);
    CHECK(with([](Block& b) { b.key_bias.setZero(8); }) == "multi_head: key_bias (8x1) must be 4x1" + end);
    CHECK(with([](Block& b) { b.value_bias.setZero(0); }) == "multi_head: value_bias (0x1) must be 4x1" + end);
    CHECK(with([](Block& b) { b.gate_weight.setZero(8, 2); }) == "multi_head: gate_weight (8x2) must be 8x0" + end);
    CHECK(with([](Block& b) { b.gate_bias.setZero(2); }) == "multi_head: gate_bias (2x1) must be 0x1" + end);
    CHECK(with([](Block& b) { b.q_norm.setZero(4); }) == "multi_head: q_norm (4x1) must be 0x1" + end);
    CHECK(with([](Block& b) { b.k_norm.setZero(4); }) == "multi_head: k_norm (4x1) must be 0x1" + end);
    CHECK(with([](Block& b) { b.output_bias.setZero(9); }) == "multi_head: output_bias (9x1) must be 8x1" + end);
    Recorded r;
    r.block.output_weight.setZero(8, 4000);
    CHECK(r.backward() == "multi_head: output_weight (8x4000) must be 8x8" + end);
}

TEST_CASE("a tape of another block or of another kind of call is refused") {
    const std::string no_call = "backward: the tape holds no call of this block: its ";
    Recorded r;
    MultiHeadTape<double> empty;
    CHECK(refusal([&] { r.block.backward(empty, Matrix(0, 8), r.dx); }) == no_call + "x (0x0) must be 0x8");
    const Block wider({.d_model = 8, .heads = 2, .d_head = 30});
    CHECK(refusal([&] { wider.backward(r.tape, r.dy, r.dx); }) == no_call + "q (10x8) must be 10x60");
    const Block more_heads({.d_model = 8, .heads = 4});
    CHECK(refusal([&] { more_heads.backward(r.tape, r.dy, r.dx); }) == no_call + "lse (10x2) must be 10x4");
    const Block normed({.d_model = 8, .heads = 2, .qk_norm = RmsNorm{}}),
        gated({.d_model = 8, .heads = 2, .gate = OutputGate::headwise});
    CHECK(refusal([&] { normed.backward(r.tape, r.dy, r.dx); }) == no_call + "queries and keys were not normed");
    CHECK(refusal([&] { gated.backward(r.tape, r.dy, r.dx); }) == no_call + "gates (10x0) must be 10x2");
    MultiHeadTape<double> other;
    gated.forward(r.x, r.y, {.tape = &other});
    CHECK(refusal([&] { r.block.backward(other, r.dy, r.dx); }) == no_call + "gates (10x2) must be 10x0");
    normed.forward(r.x, r.y, {.tape = &other});
    CHECK(refusal([&] { r.block.backward(other, r.dy, r.dx); }) == no_call + "queries and keys were normed");
    Matrix dmemory;
    CHECK(refusal([&] { r.block.backward(r.tape, r.dy, r.dx, dmemory); }) ==
          "backward: the tape holds a call without a memory, which has no gradient: backward(tape, dy, dx)");
    CHECK(dmemory.size() == 0);
    CHECK(untouched(r.dx));

    r.tape.sequences = {0, 4000};
    r.tape.key_sequences = {0, 4000};
    CHECK(r.backward() == "sequences must end at the 10 rows of q (2 heads x 10x4), not at 4000");
    r.tape.sequences = r.tape.key_sequences = {0, 4000, 10};
    CHECK(r.backward() == "sequences: offsets must not decrease, but 10 follows 4000");

    // A memory without rows is a memory still.
    r.block.forward(r.x, Matrix(0, 8), r.y, {.tape = &r.tape});
    CHECK(refusal([&] { r.block.backward(r.tape, r.dy, r.dx); }) ==
          "backward: the tape holds a call with a memory: ask for its gradient too, backward(tape, dy, dx, dmemory)");
    CHECK(untouched(r.dx));
    r.block.backward(r.tape, r.dy, r.dx, dmemory, {.gradient = &r.gradient});
    CHECK((dmemory.rows() == 0 && dmemory.cols() == 8));
    CHECK(untouched(r.dx));
}

TEST_CASE("a gradient of another shape, or that is the block, is refused by the parameter's name") {
    const std::string end = ", as the parameter is: make one by zero_gradient";
    Recorded r;
    r.gradient.key_bias.setZero(3);
    CHECK(r.backward() == "multi_head: key_bias (3x1) must be 8x1, as the shape of the block says");
    r.gradient = zero_gradient(Block({.d_model = 8, .heads = 1, .d_head = 2}));
    CHECK(r.backward() == "gradient: query_weight (8x2) must be 8x8" + end);
    r.gradient = zero_gradient(Block({.d_model = 8, .heads = 2, .bias = false}));
    CHECK(r.backward() == "gradient: has 4 parameters for 8: make one by zero_gradient");
    CHECK(refusal([&] { r.block.backward(r.tape, r.dy, r.dx, {.gradient = &r.block}); }) ==
          "gradient is the very value that it is asked of: make one by zero_gradient");

    MultiHeadAttention<double, GeneralAttention<double>> general({.d_model = 8, .heads = 2}, {4, 4, 1}, 1);
    general.forward(r.x, r.y, {.tape = &r.tape});
    auto gradient = zero_gradient(general);
    gradient.attention.weight.setZero(4, 2);
    CHECK(refusal([&] { general.backward(r.tape, r.dy, r.dx, {.gradient = &gradient}); }) ==
          "gradient: attention.weight (4x2) must be 4x4" + end);
    CHECK(untouched(r.dx));
}

TEST_CASE("an output that shares memory with the tape, with a parameter or with another output is refused") {
    const std::string own = ": give the call memory of its own to write to";
    Recorded r;
    const Block& block = r.block;
    CHECK(refusal([&] { block.forward(r.x, r.tape.context, {.tape = &r.tape}); }) ==
          "y (10x8) aliases the tape's context (10x8)" + own);
    MultiHeadTape<double> fresh;
    CHECK(refusal([&] { block.forward(r.x, fresh.q, {.tape = &fresh}); }) ==
          "y (0x0) aliases the tape's q (0x0)" + own);
    Matrix square = sevens(20, 10);
    CHECK(refusal([&] { block.forward(r.x, square.block(3, 1, 10, 8), {.weights = square}); }) ==
          "weights (20x10) aliases y (10x8)" + own);
    CHECK(refusal([&] { block.forward(r.x.topRows(8), r.block.query_weight); }) ==
          "y (8x8) aliases a parameter of the block (8x8)" + own);
    CHECK(refusal([&] { block.backward(r.tape, r.dy, r.tape.x); }) == "dx (10x8) aliases the tape's x (10x8)" + own);
    CHECK(refusal([&] {
              block.backward(r.tape, r.dy, strided(square.data(), {1, 1, 10, 8}, {0, 0, 4, 1}));
          }) == "dx (10x8) overlaps itself: by its strides two of its elements are one");
    Recorded small;
    small.y.resize(0, 0);
    small.block.forward(small.x.topRows(8), small.y, {.tape = &small.tape});
    small.dy = small.dy.topRows(8).eval();
    CHECK(refusal([&] {
              small.block.backward(small.tape, small.dy, small.gradient.query_weight, {.gradient = &small.gradient});
          }) == "gradient: query_weight (8x8) aliases dx (8x8)" + own);
    CHECK(small.gradient.query_weight.isZero(0));

    r.block.forward(r.x, r.x, r.y, {.tape = &r.tape});
    Matrix one;
    CHECK(refusal([&] { block.backward(r.tape, r.dy, one, one); }) == "dx (0x0) aliases dmemory (0x0)" + own);
    CHECK(one.size() == 0);
    r.block.backward(r.tape, r.dy, one, square.block(0, 0, 10, 8));  // makes the tape's own gradients
    CHECK(refusal([&] { block.backward(r.tape, r.tape.dcontext, r.dx, one); }) ==
          "dy (10x8) is memory of the tape, which the call overwrites");
    CHECK(untouched(r.dx));
}

TEST_CASE("inputs in the memory of the tape are taken where they can be copied, and refused where not") {
    Recorded r;
    const Matrix y = r.y, x = r.x;
    r.block.forward(r.tape.x, r.y, {.tape = &r.tape});
    CHECK(same_bits(r.y, y));
    CHECK(refusal([&] { r.block.forward(r.tape.x.topRows(5), r.y, {.tape = &r.tape}); }) ==
          "x (5x8) is memory of the tape, which the call overwrites");
    CHECK(refusal([&] { r.block.forward(x, r.tape.x, r.y, {.tape = &r.tape}); }) ==
          "memory (10x8) is memory of the tape, which the call overwrites");
    CHECK(same_bits(r.tape.x, x));
}

TEST_CASE("y may be x, and dx may be dy, as behind a residual connection") {
    Recorded r;
    Matrix y = r.x, dx, both = r.dy;
    r.block.forward(y, y);
    CHECK(same_bits(y, r.y));
    r.block.backward(r.tape, r.dy, dx);
    r.block.backward(r.tape, both, both);
    CHECK(distance(both, r.dy + dx) <= 1e-14);
}

}  // namespace test_multi_head_errors

// Blocks that gate what their heads give, against plain loops in double.

#include <attend/attend.hpp>

#include <cmath>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_output_gate {
namespace {

using Matrix = RowMatrix<double>;

MultiHeadShape shape_of(OutputGate gate, bool bias) {
    return {.d_model = 10, .heads = 3, .kv_heads = 1, .d_head = 5, .bias = bias, .gate = gate};
}
Matrix rows_of(Index rows, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<double>(random, rows, 10);
}

}  // namespace

TEST_CASE("each feature, or each head, is multiplied by the logistic function of a projection of x") {
    const OutputGate gate = GENERATE(OutputGate::elementwise, OutputGate::headwise);
    const bool bias = GENERATE(true, false);
    auto block = multi_head<double>(shape_of(gate, bias), scaled_dot_product >> causal, 1);
    const auto plain = multi_head<double>(shape_of(OutputGate::none, bias), scaled_dot_product >> causal, 1);
    CHECK(block.query_weight == plain.query_weight);
    if (bias) block.gate_bias = rows_of(15, 2).col(0).head(block.gate_bias.size());
    const Matrix x = rows_of(6, 3);
    MultiHeadTape<double> tape;
    Matrix y, plain_y;
    plain.forward(x, plain_y, {.tape = &tape});
    Matrix gated = tape.context;
    for (Index i = 0; i < 6; ++i) {
        for (Index a = 0; a < 15; ++a) {
            const Index g = gate == OutputGate::headwise ? a / 5 : a;
            double sum = bias ? block.gate_bias[g] : 0;
            for (Index c = 0; c < 10; ++c) sum += x(i, c) * block.gate_weight(c, g);
            gated(i, a) /= 1 + std::exp(-sum);
        }
    }
    const Matrix right = gated * block.output_weight;
    block.forward(x, y);
    CHECK(distance(y, right) <= 1e-14 * magnitude(right));
    Matrix x_itself = x;
    block.forward(x_itself, x_itself);  // y may be x
    CHECK(same_bits(x_itself, y));
    Eigen::MatrixXd columns = x;
    block.forward(columns, columns);
    CHECK(distance(columns, y) <= 1e-14 * magnitude(y));
}

TEST_CASE("gates that are open let all through, and closed ones nothing, however large their arguments") {
    auto block = multi_head<float>(shape_of(OutputGate::elementwise, true), scaled_dot_product, 1);
    const auto plain = multi_head<float>(shape_of(OutputGate::none, true), scaled_dot_product, 1);
    const RowMatrix<float> x = rows_of(4, 4).cast<float>();
    block.gate_bias.setConstant(1e30f);
    CHECK(same_bits(block(x), plain(x)));
    block.gate_bias.setConstant(-1e30f);
    CHECK((block(x).array() == 0).all());
}

TEST_CASE("packed weights hold the gate's, and others are refused") {
    const auto block = multi_head<double>(shape_of(OutputGate::elementwise, true), scaled_dot_product, 1),
               other = multi_head<double>(shape_of(OutputGate::headwise, true), scaled_dot_product, 1);
    const auto packed = block.pack(), of_other = other.pack();
    const Matrix x = rows_of(12, 5);
    Matrix y, y_packed;
    block.forward(x, y);
    block.forward(x, y_packed, {.packed = &packed});
    CHECK(same_bits(y, y_packed));
    CHECK(refusal([&] { block.forward(x, y, {.packed = &of_other}); }) ==
          "packed: holds gate_weight (10x3), but the block's is 10x15: pack that block");
}

}  // namespace test_output_gate

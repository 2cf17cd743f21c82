// A block that norms its heads' queries and keys, and turns them then: against plain loops in double.

#include <attend/attend.hpp>

#include <cmath>
#include <limits>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_query_key_steps {
namespace {

using Matrix = RowMatrix<double>;

constexpr double epsilon = 0.05, base = 50.0;
constexpr Index d = 6;

/// Each head's rows divided by their root mean square, times the gains, then turned by their positions.
Matrix steps_by_hand(Matrix x, Index count, const Eigen::VectorXd& gain, Index first) {
    for (Index i = 0; i < x.rows(); ++i) {
        for (Index h = 0; h < count; ++h) {
            auto head = x.row(i).segment(h * d, d);
            double squares = 0;
            for (Index a = 0; a < d; ++a) squares += head[a] * head[a];
            for (Index a = 0; a < d; ++a) head[a] *= gain[a] / std::sqrt(squares / double(d) + epsilon);
            for (Index a = 0; a < d / 2; ++a) {
                const double angle = double(first + i) * std::pow(base, -2.0 * double(a) / double(d));
                const double one = head[a], other = head[a + d / 2];
                head[a] = one * std::cos(angle) - other * std::sin(angle);
                head[a + d / 2] = one * std::sin(angle) + other * std::cos(angle);
            }
        }
    }
    return x;
}

auto block_of(std::uint64_t seed) {
    auto block = multi_head<double>({.d_model = 10,
                                     .heads = 4,
                                     .kv_heads = 2,
                                     .d_head = d,
                                     .bias = false,
                                     .rope = Rope{.base = base},
                                     .qk_norm = RmsNorm{.epsilon = epsilon}},
                                    scaled_dot_product, seed);
    Random random(seed);
    block.q_norm = random_matrix<double>(random, d, 1);
    block.k_norm = random_matrix<double>(random, d, 1);
    return block;
}

}  // namespace

TEST_CASE("queries and keys are normed head by head, and turned then") {
    const auto block = block_of(1);
    Random random(2);
    const Matrix x = random_matrix<double>(random, 5, 10), memory = random_matrix<double>(random, 7, 10);
    const Index first = 3;
    const Matrix q = steps_by_hand(x * block.query_weight, 4, block.q_norm, first),
                 k = steps_by_hand(memory * block.key_weight, 2, block.k_norm, 0), v = memory * block.value_weight;
    Matrix context, y;
    scaled_dot_product(heads(q, 4), heads(k, 2), heads(v, 2), context);
    block.forward(x, memory, y, {.query_offset = first});
    CHECK(distance(y, context * block.output_weight) <= 1e-14 * magnitude(y));
}

TEST_CASE("any rope turns a block's queries and keys, of any table, magnitude and positions") {
    const Index n = 6;
    Rope yarn = Rope::yarn(4, {.factor = 4, .original = 32}), grid{.positions = grid_positions(2, 3)};
    yarn.layout = RopeLayout::interleaved;
    for (const Rope& rope : {Rope::llama3(d, {.factor = 8, .original = 32}, 50.0), yarn, Rope::linear(d, 3), grid}) {
        const bool on_grid = rope.positions.size() > 0;
        const Index width = on_grid ? 8 : d;
        const auto block =
            multi_head<double>({.d_model = 10, .heads = 2, .kv_heads = 1, .d_head = width, .bias = false, .rope = rope},
                               scaled_dot_product, 1);
        Random random(6);
        const Matrix x = random_matrix<double>(random, n, 10);
        Matrix q = x * block.query_weight, k = x * block.key_weight, v = x * block.value_weight, context;
        rope(heads(q, 2)), rope(heads(k, 1));
        scaled_dot_product(heads(q, 2), heads(k, 1), heads(v, 1), context);
        const Matrix right = context * block.output_weight;
        CHECK(distance(block(x), right) <= 1e-14 * magnitude(right));
        KvCache<double> cache({.heads = 1, .d_k = width, .capacity = 10});
        const auto stepping = multi_head<double>(block.shape(), scaled_dot_product >> causal, 1);
        const Matrix whole = stepping(x);
        Matrix y;
        for (Index i = 0; i < n; ++i) {
            stepping.step(x.row(i), cache, y);
            CHECK(distance(y, whole.row(i)) <= 1e-14 * magnitude(whole));
        }
        if (!on_grid) continue;
        Matrix again = whole;
        CHECK(refusal([&] { stepping.step(x.row(0), cache, y); }) ==
              "rope: positions (6x2) must have rows for tokens 6 to 6");
        CHECK(cache.keys() == n);
        CHECK(refusal([&] { stepping.forward(x, again, {.query_offset = 1}); }) ==
              "rope: positions (6x2) must have rows for tokens 1 to 6");
        CHECK(same_bits(again, whole));
    }
}

TEST_CASE("of a normed block the size of the query and key weights does not matter, and scores stay in bounds") {
    auto block = multi_head<float>({.d_model = 16, .heads = 2, .bias = false, .qk_norm = RmsNorm{.epsilon = 0}},
                                   scaled_dot_product, 3);
    Random random(4);
    const RowMatrix<float> x = random_matrix<float>(random, 9, 16), y = block(x);
    block.query_weight *= 0x1p40f;
    block.key_weight *= 0x1p-40f;
    CHECK(same_bits(block(x), y));
    auto largest = largest_score<float>();
    RowMatrix<float> again;
    block.forward(x, again, {.insight = {largest}});
    CHECK(largest.values().maxCoeff() <= std::sqrt(8.0f) * 1.0001f);  // |q| = |k| = √8, scaled by 1/√8
}

TEST_CASE("a normed block has parameters of its own, which plain ones lack, and their weights from the same seed") {
    const auto block = block_of(1);
    MultiHeadShape shape = block.shape();
    shape.qk_norm.reset();
    const auto plain = multi_head<double>(shape, scaled_dot_product, 1);
    CHECK(block.query_weight == plain.query_weight);
    CHECK(block.output_weight == plain.output_weight);
    std::vector<std::string> names, plain_names;
    visit_parameters(block, [&](std::string_view name, const auto&) { names.emplace_back(name); });
    visit_parameters(plain, [&](std::string_view name, const auto&) { plain_names.emplace_back(name); });
    plain_names.insert(plain_names.end(), {"q_norm", "k_norm"});
    CHECK(names == plain_names);
}

TEST_CASE("rows that count for nothing may hold NaN: no gradient of a normed, gated block does") {
    const auto attention = scaled_dot_product >> mask([](Position p) { return p.query < 4 && p.key < 4; });
    auto block = multi_head<double>({.d_model = 8,
                                     .heads = 2,
                                     .qk_norm = RmsNorm{},
                                     .gate = GENERATE(OutputGate::elementwise, OutputGate::headwise)},
                                    attention, 1);
    Random random(5);
    Matrix x = random_matrix<double>(random, 6, 8), dy = random_matrix<double>(random, 6, 8), y, dx;
    x.bottomRows(2).setConstant(std::numeric_limits<double>::quiet_NaN());
    dy.bottomRows(2).setZero();
    MultiHeadTape<double> tape;
    auto gradient = zero_gradient(block);
    block.forward(x, y, {.tape = &tape});
    block.backward(tape, dy, dx, {.gradient = &gradient});
    CHECK(y.topRows(4).allFinite());
    CHECK(dx.allFinite());
    visit_parameters(gradient, [&](std::string_view name, const auto& matrix) {
        CAPTURE(name);
        CHECK(matrix.allFinite());
    });
}

TEST_CASE("a tape of a plain block is refused by a normed one") {
    MultiHeadShape shape{.d_model = 8, .heads = 2};
    const auto plain = multi_head<double>(shape, scaled_dot_product, 1);
    shape.qk_norm = RmsNorm{};
    const auto normed = multi_head<double>(shape, scaled_dot_product, 1);
    shape.gate = OutputGate::headwise;
    const auto gated = multi_head<double>(shape, scaled_dot_product, 1);
    const Matrix x = Matrix::Ones(3, 8);
    Matrix y, dx;
    MultiHeadTape<double> tape;
    plain.forward(x, y, {.tape = &tape});
    CHECK(refusal([&] { normed.backward(tape, y, dx); }) ==
          "backward: the tape holds no call of this block: its queries and keys were not normed");
    normed.forward(x, y, {.tape = &tape});
    CHECK(refusal([&] { gated.backward(tape, y, dx); }) ==
          "backward: the tape holds no call of this block: its gates (3x0) must be 3x2");
    CHECK(dx.size() == 0);
}

}  // namespace test_query_key_steps

#include <attend/attend.hpp>

#include <limits>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head {
namespace {

RowMatrix<double> random_rows(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<double>(random, rows, columns);
}

/// All blocks that are called have one type, of an attention with a modifier and a mask: a type takes seconds to
/// compile. Blocks of 16 bits, and of the default attention, are called in multi_head_rounding.cpp.
auto block_of(const MultiHeadShape& shape) {
    const auto attention = scaled_dot_product >> alibi(0.3) >> causal;
    return MultiHeadAttention<double, decltype(attention)>(shape, attention, 1);
}

const auto says = [](const std::string& text) { return Catch::Matchers::Message("attend: " + text); };

/// Every matrix that a tape holds.
std::vector<const double*> memory_of(const MultiHeadTape<double>& tape) {
    std::vector<const double*> pointers;
    for (const auto* matrix : {&tape.x, &tape.memory, &tape.q, &tape.k, &tape.v, &tape.context, &tape.lse, &tape.dq,
                               &tape.dk, &tape.dv, &tape.dcontext}) {
        CHECK(matrix->size() > 0);
        pointers.push_back(matrix->data());
    }
    return pointers;
}

}  // namespace

TEST_CASE("a block is its attention over projected heads, and a projection of what they give") {
    auto block = block_of({.d_model = 8, .heads = 4, .kv_heads = 2, .d_head = 3});
    block.query_bias = random_rows(12, 1, 2);
    block.key_bias = random_rows(6, 1, 3);
    block.value_bias = random_rows(6, 1, 4);
    block.output_bias = random_rows(8, 1, 5);
    const RowMatrix<double> x = random_rows(5, 8, 6);
    const auto project = [](const RowMatrix<double>& rows, const auto& weight, const auto& bias) {
        return RowMatrix<double>(rows.lazyProduct(weight).rowwise() + bias.transpose());
    };
    const RowMatrix<double> q = project(x, block.query_weight, block.query_bias),
                            k = project(x, block.key_weight, block.key_bias),
                            v = project(x, block.value_weight, block.value_bias);
    RowMatrix<double> context, weights, block_weights, y;
    block.attention(heads(q, 4), heads(k, 2), heads(v, 2), context, {.weights = weights});
    block.forward(x, y, {.weights = block_weights});
    CHECK(distance(y, project(context, block.output_weight, block.output_bias)) <= 1e-14);
    CHECK(distance(block_weights, weights) <= 1e-14);
    CHECK(distance(y, block(x)) <= 1e-14);  // by another kernel than with weights
    CHECK(same_bits(block(x, x), block(x)));
}

TEST_CASE("equal heads equal one head, and a group of query heads equals as many heads with the same keys") {
    const auto one = block_of({.d_model = 6, .heads = 1, .d_head = 4});
    const RowMatrix<double> x = random_rows(5, 6, 2);
    auto three = block_of({.d_model = 6, .heads = 3, .d_head = 4}),
         grouped = block_of({.d_model = 6, .heads = 3, .kv_heads = 1, .d_head = 4});
    three.query_weight = grouped.query_weight = one.query_weight.replicate(1, 3);
    three.key_weight = one.key_weight.replicate(1, 3);
    three.value_weight = one.value_weight.replicate(1, 3);
    three.output_weight = grouped.output_weight = one.output_weight.replicate(3, 1) / 3;
    grouped.key_weight = one.key_weight;
    grouped.value_weight = one.value_weight;
    CHECK(distance(three(x), one(x)) <= 1e-14);
    CHECK(distance(grouped(x), one(x)) <= 1e-14);
}

TEST_CASE("a ragged batch is a call for each of its sequences, positions included") {
    const auto block = block_of({.d_model = 8, .heads = 2, .rope = Rope{}});
    const RowMatrix<double> x = random_rows(9, 8, 2), memory = random_rows(11, 8, 3), dy = random_rows(9, 8, 4);
    MultiHeadTape<double> tape;
    RowMatrix<double> y, dx, dmemory;
    block.forward(
        x, memory, y,
        {.tape = &tape, .query_offset = 2, .sequences = sequences({0, 4, 9}), .key_sequences = sequences({0, 5, 11})});
    block.backward(tape, dy, dx, dmemory);
    const auto check = [&](Index row, Index rows, Index key, Index keys) {
        RowMatrix<double> y_one, dx_one, dmemory_one;
        block.forward(x.middleRows(row, rows), memory.middleRows(key, keys), y_one, {.tape = &tape, .query_offset = 2});
        block.backward(tape, RowMatrix<double>(dy.middleRows(row, rows)), dx_one, dmemory_one);
        CHECK(distance(y.middleRows(row, rows), y_one) <= 1e-14);
        CHECK(distance(dx.middleRows(row, rows), dx_one) <= 1e-14);
        CHECK(distance(dmemory.middleRows(key, keys), dmemory_one) <= 1e-14);
    };
    check(0, 4, 0, 5);
    check(4, 5, 5, 6);
}

TEST_CASE("a tape that is given again keeps its memory, and backward adds into what it is given") {
    const auto block = block_of({.d_model = 8, .heads = 2});
    const RowMatrix<double> x = random_rows(6, 8, 2), memory = random_rows(7, 8, 3), dy = random_rows(6, 8, 4);
    MultiHeadTape<double> tape;
    RowMatrix<double> y, dx, dmemory;
    auto gradient = zero_gradient(block);
    const auto step = [&] {
        block.forward(x, memory, y, {.tape = &tape});
        block.backward(tape, dy, dx, dmemory, {.gradient = &gradient});
        return memory_of(tape);
    };
    const auto first = step();
    const RowMatrix<double> dx_once = dx, dmemory_once = dmemory;
    const Eigen::MatrixXd dweight_once = gradient.value_weight;
    const Eigen::VectorXd dbias_once = gradient.query_bias;
    CHECK(step() == first);
    CHECK(distance(dx, 2 * dx_once) <= 1e-14);
    CHECK(distance(dmemory, 2 * dmemory_once) <= 1e-14);
    CHECK(distance(gradient.value_weight, 2 * dweight_once) <= 1e-14);
    CHECK(distance(gradient.query_bias, 2 * dbias_once) <= 1e-14);
}

TEST_CASE("results and their gradients may stand in any storage order") {
    const auto block = block_of({.d_model = 8, .heads = 2});
    const RowMatrix<double> x = random_rows(6, 8, 2), dy = random_rows(6, 8, 3);
    MultiHeadTape<double> tape;
    RowMatrix<double> y, dx;
    block.forward(x, y, {.tape = &tape});
    block.backward(tape, dy, dx);

    const Eigen::MatrixXd x_columns = x, dy_beside_x = (Eigen::MatrixXd(6, 16) << dy, x).finished();
    Eigen::MatrixXd y_columns, dx_columns, dx_of_expression;
    block.forward(x_columns, y_columns, {.tape = &tape});
    block.backward(tape, dy_beside_x.leftCols(8), dx_columns);
    block.backward(tape, 2 * dy, dx_of_expression);
    CHECK(distance(y_columns, y) <= 1e-14);
    CHECK(distance(dx_columns, dx) <= 1e-14);
    CHECK(distance(dx_of_expression, 2 * dx) <= 1e-14);

    RowMatrix<double> gapped = RowMatrix<double>::Constant(6, 16, 7.0);
    block.forward(x, strided(gapped.data(), {1, 1, 6, 8}, {0, 0, 16, 2}));
    for (Index a = 0; a < 8; ++a) {
        CHECK(distance(gapped.col(2 * a), y.col(a)) <= 1e-14);
        CHECK((gapped.col(2 * a + 1).array() == 7.0).all());
    }
}

TEST_CASE("a seed decides the weights: Xavier's, and biases of 0") {
    const MultiHeadShape shape{.d_model = 40, .heads = 5, .kv_heads = 1, .d_memory = 30};
    const MultiHeadAttention<float> a(shape, {}, 7), again(shape, {}, 7), other(shape, {}, 8);
    CHECK((a.output_weight == again.output_weight));
    CHECK((a.output_weight != other.output_weight));
    CHECK((a.query_weight != a.output_weight));
    CHECK(a.query_bias.isZero(0));
    for (const auto* weight : {&a.query_weight, &a.key_weight, &a.value_weight, &a.output_weight}) {
        const double bound = std::sqrt(6.0 / static_cast<double>(weight->rows() + weight->cols()));
        const double largest = static_cast<double>(weight->cwiseAbs().maxCoeff());
        CHECK(largest <= bound);
        CHECK(largest > 0.95 * bound);
        // Of a uniform distribution: the variance is bound²/3, and the mean of n numbers strays by 4 of its standard
        // deviations at most.
        const double n = static_cast<double>(weight->size());
        CHECK(std::abs(static_cast<double>(weight->mean())) <= 4 * bound / std::sqrt(3 * n));
    }
}

TEMPLATE_TEST_CASE("packed weights give the same bits of many rows, and a call without a tape of any", "", float,
                   double) {
    using Block = MultiHeadAttention<TestType>;
    for (const Index n : {1, 8, 9, 70}) {
        for (const Index d : {10, 96}) {
            CAPTURE(n, d);
            Random random(3);
            const Block block({.d_model = d, .heads = 2, .d_head = 33, .d_memory = 17}, {}, 1);
            const RowMatrix<TestType> x = random_matrix<TestType>(random, n, d),
                                      memory = random_matrix<TestType>(random, n + 3, 17);
            const auto packed = block.pack();
            typename Block::Tape tape;
            RowMatrix<TestType> y, y_packed;
            block.forward(x, memory, y, {.tape = &tape});
            block.forward(x, memory, y_packed, {.tape = &tape, .packed = &packed});
            Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic> columns = x;  // and y is x
            block.forward(columns, memory, columns, {.packed = &packed});
            if (n > attend::detail::most_few_rows) CHECK(same_bits(y_packed, y));
            CHECK(distance(y_packed, y) <= 32 * std::numeric_limits<TestType>::epsilon() * magnitude(y));
            CHECK(same_bits(columns, y_packed));
        }
    }
}

TEST_CASE("wherever x stands, a call without a tape gives the bits of one with a tape") {
    using Rows = RowMatrix<float>;
    const MultiHeadAttention<float> block({.d_model = 8, .heads = 2}, {}, 1);
    Random random(4);
    const Rows wide = random_matrix<float>(random, 20, 24);
    const auto check = [&](const auto& x) {
        MultiHeadTape<float> tape;
        Rows y, alone;
        block.forward(x, y, {.tape = &tape});
        block.forward(x, alone);
        CHECK(same_bits(alone, y));
    };
    for (const Index rows : {1, 5, 20}) {
        CAPTURE(rows);
        check(wide.topLeftCorner(rows, 8));
        check(Eigen::Map<const Rows, 0, Eigen::OuterStride<>>(wide.data(), rows, 8, Eigen::OuterStride<>(0)));
        check(
            Eigen::Map<const Rows, 0, Eigen::OuterStride<>>(wide.data() + 19 * 24, rows, 8, Eigen::OuterStride<>(-24)));
        check(Rows(wide.topLeftCorner(rows, 8)).colwise().reverse());
        check(Eigen::MatrixXf(wide.topLeftCorner(rows, 8)));
    }
}

TEST_CASE("shapes that make no block are refused") {
    const auto make = [](const MultiHeadShape& shape) { return MultiHeadAttention<float>(shape); };
    CHECK_THROWS_MATCHES(make({}), std::invalid_argument,
                         says("multi_head: d_model and heads must be above 0, got 0 and 1"));
    CHECK_THROWS_MATCHES(make({.d_model = 8, .heads = 4, .kv_heads = 3}), std::invalid_argument,
                         says("multi_head: 3 kv_heads do not divide 4 heads"));
    CHECK_THROWS_MATCHES(make({.d_model = 8, .heads = 3}), std::invalid_argument,
                         says("multi_head: 3 heads do not divide d_model 8: give d_head"));
    CHECK_THROWS_MATCHES(make({.d_model = 8, .heads = 2, .d_head = -1}), std::invalid_argument,
                         says("multi_head: d_head and the widths of memories must be above 0, got d_head -1, "
                              "d_memory 8 and d_value_memory 8"));
}

TEST_CASE("inputs that do not fit the block or the tape are refused, and nothing is written") {
    const auto block = block_of({.d_model = 4, .heads = 2, .d_memory = 6}), self = block_of({.d_model = 4, .heads = 2});
    const RowMatrix<double> x = random_rows(3, 4, 1), memory = random_rows(5, 6, 2), narrow = random_rows(3, 2, 3);
    RowMatrix<double> y, dx;
    CHECK_THROWS_MATCHES(block.forward(x, y), std::invalid_argument,
                         says("self-attention needs d_memory (6) equal to d_model (4)"));
    CHECK_THROWS_MATCHES(self.forward(narrow, y), std::invalid_argument, says("x (3x2) must have 4 columns"));
    CHECK_THROWS_MATCHES(block.forward(x, x, y), std::invalid_argument, says("memory (3x4) must have 6 columns"));
    RowMatrix<double> wrong = RowMatrix<double>::Ones(2, 4);
    CHECK_THROWS_MATCHES(self.forward(x, wrong), std::invalid_argument,
                         says("y (2x4) must be 3x4, or empty to be resized"));
    CHECK((wrong.array() == 1).all());
    CHECK(y.size() == 0);

    MultiHeadTape<double> tape;
    block.forward(x, memory, y, {.tape = &tape});
    CHECK_THROWS_MATCHES(block.backward(tape, y, dx), std::invalid_argument,
                         says("backward: the tape holds a call with a memory: ask for its gradient too, backward(tape, "
                              "dy, dx, dmemory)"));
    CHECK_THROWS_MATCHES(block.backward(tape, y, dx, wrong), std::invalid_argument,
                         says("dmemory (2x4) must be 5x6, or empty to be resized"));
    RowMatrix<double> dmemory;
    CHECK_THROWS_MATCHES(block.backward(tape, narrow, dx, dmemory), std::invalid_argument,
                         says("dy (3x2) must be 3x4, as the result of the call that the tape holds"));
    CHECK(dx.size() == 0);
    CHECK(dmemory.size() == 0);
}

TEST_CASE("PyTorch weights that do not fit are refused, and the block keeps its own") {
    auto block = block_of({.d_model = 4, .heads = 2});
    const auto before = block;
    using Matrix = Eigen::MatrixXd;
    const Matrix in_weight = Matrix::Ones(12, 4), in_bias = Matrix::Ones(12, 1), out_weight = Matrix::Ones(4, 4),
                 out_bias = Matrix::Ones(1, 4);
    const auto refuses = [&](const Matrix& iw, const Matrix& ib, const Matrix& ow, const Matrix& ob,
                             const std::string& text) {
        CHECK_THROWS_MATCHES(block.import_torch(iw, ib, ow, ob), std::invalid_argument, says(text));
    };
    refuses(in_weight.topRows(11), in_bias, out_weight, out_bias, "in_proj_weight (11x4) must be 12x4");
    refuses(in_weight.transpose(), in_bias, out_weight, out_bias, "in_proj_weight (4x12) must be 12x4");
    refuses(in_weight, in_bias, out_weight.leftCols(3), out_bias, "out_proj_weight (4x3) must be 4x4");
    refuses(in_weight, Matrix(), out_weight, out_bias,
            "in_proj_bias (0) and out_proj_bias (4) must hold 12 and 4 values");
    CHECK((block.query_weight == before.query_weight));
    CHECK((block.output_bias == before.output_bias));
    block.import_torch(in_weight, in_bias, out_weight, out_bias);
    CHECK((block.query_weight.array() == 1).all());
    CHECK((block.output_bias.array() == 1).all());

    auto own_memory = block_of({.d_model = 4, .heads = 2, .d_memory = 6});
    CHECK_THROWS_MATCHES(
        own_memory.import_torch(in_weight, in_bias, out_weight, out_bias), std::invalid_argument,
        says("import_torch: a packed in_proj_weight needs memories as wide as x, got d_model 4, d_memory 6 and "
             "d_value_memory 6"));
}

}  // namespace test_multi_head

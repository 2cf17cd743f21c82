#include <attend/modifier/row_column_bias.hpp>

#include <attend/mask/causal.hpp>
#include <attend/mask/lambda.hpp>
#include <attend/modifier/bias.hpp>
#include <attend/normalizer/sink.hpp>
#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_row_column_bias {
namespace {

/// a_i + b_j in full, a block of rows a head.
Eigen::MatrixXd in_full(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
    const Index heads = std::max(a.cols(), b.cols());
    Eigen::MatrixXd all(heads * a.rows(), b.rows());
    for (Index h = 0; h < heads; ++h) {
        const Eigen::VectorXd rows = a.col(std::min(h, a.cols() - 1)), columns = b.col(std::min(h, b.cols() - 1));
        all.middleRows(h * a.rows(), a.rows()) =
            rows.replicate(1, b.rows()) + columns.transpose().replicate(a.rows(), 1);
    }
    return all;
}
/// The call and its gradients as those of the dense bias, by `a` and `b` their sums over rows and columns.
void check_as_dense(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b, const Operands<double>& x) {
    const Index heads = std::max(a.cols(), b.cols()), n = a.rows();
    const auto with = [](const auto& modifier) { return scaled_dot_product >> modifier >> softmax_with_sink(0.3); };
    const auto apart = with(row_column_bias(a, b));
    const auto full = with(bias(in_full(a, b), heads));
    CHECK(distance(forward(apart, x).out, forward(full, x).out) < 1e-14);
    const auto d = backward(apart, x);
    const auto d_full = backward(full, x);
    CHECK(distance(d.dq, d_full.dq) < 1e-13);
    CHECK(distance(d.dk, d_full.dk) < 1e-13);
    CHECK(distance(d.dv, d_full.dv) < 1e-13);
    const auto& gradient = std::get<0>(d.parameters.modifiers.each);
    const auto& each = std::get<0>(d_full.parameters.modifiers.each).values;
    Eigen::MatrixXd da = Eigen::MatrixXd::Zero(n, a.cols()), db = Eigen::MatrixXd::Zero(b.rows(), b.cols());
    for (Index h = 0; h < heads; ++h) {
        da.col(std::min(h, a.cols() - 1)) += each.middleRows(h * n, n).rowwise().sum();
        db.col(std::min(h, b.cols() - 1)) += each.middleRows(h * n, n).colwise().sum().transpose();
    }
    CHECK(distance(gradient.a, da) < 1e-12);
    CHECK(distance(gradient.b, db) < 1e-12);
}

}  // namespace

TEST_CASE("a row's number is added by row, a column's by key") {
    const auto both = row_column_bias(Eigen::Vector3d(1, 2, 3), Eigen::Vector2d(10, 20));
    CHECK(both(100.0, Position{.query = 50, .key = 1, .row = 2, .head = 5, .sequence = 3}) == 123.0);
    CHECK(row_bias(Eigen::Vector3d(1, 2, 3))(0.0, Position{.key = 7, .row = 1}) == 2.0);
    CHECK(column_bias(Eigen::Vector2d(10, 20))(0.0, Position{.key = 1, .row = 9}) == 20.0);
    const auto of_heads = column_bias(Eigen::RowVectorXd{{1, 2, 3, 4, 5, 6}}, 3);
    CHECK(of_heads(0.0, Position{.head = 1, .sequence = 2}) == 6.0);
    const auto of_sequences = column_bias(Eigen::RowVectorXd{{1, 2, 3}}, 3);
    CHECK(of_sequences(0.0, Position{.head = 1, .sequence = 2}) == 3.0);
}

TEST_CASE("a bias of rows and columns is the dense bias of their sums, forward and backward") {
    Random random(1);
    for (const auto& [queries, keys] : {std::pair<Index, Index>{1, 1}, {1, 70}, {3, 6}, {35, 83}, {150, 40}}) {
        const Layout layout{.queries = queries, .keys = keys, .heads = 4, .kv_heads = 2, .query_offset = 3};
        const auto x = random_operands(layout, 2);
        for (const Index a_heads : {1, 4}) {
            for (const Index b_heads : {1, 4}) {
                const Eigen::MatrixXd a = random_matrix<double>(random, queries, a_heads),
                                      b = random_matrix<double>(random, keys, b_heads);
                check_as_dense(a, b, x);
            }
        }
    }
}

TEST_CASE("biases of rows and columns have exact gradients, also of a sequence each") {
    Random random(3);
    const auto a = random_matrix<double>(random, 4, 4), b = random_matrix<double>(random, 5, 2);
    const auto x = random_operands(
        {.queries = 7, .keys = 9, .heads = 2, .kv_heads = 1, .sequences = {0, 3, 7}, .key_sequences = {0, 4, 9}}, 4);
    check_gradients(dot_product >> row_column_bias(a, b, 2) >> causal, x);
    check_gradients(dot_product >> row_bias(a.leftCols(2)) >> softmax_with_sink(0.1), x);
    check_gradients(dot_product >> column_bias(b.leftCols(1)), x);
}

TEST_CASE("forgetting attention: gates of a running sum, to the precision of the sum of both") {
    constexpr Index n = 300;
    auto x = random_operands<float>({.queries = n, .keys = n, .d_q = 8, .d_k = 8, .d_v = 8}, 5);
    Eigen::VectorXf c(n);  // a sum so large that a score beside it would lose all but its first digits
    for (Index i = 0; i < n; ++i) c[i] = -4096.0f - 0.25f * static_cast<float>(i);
    Eigen::MatrixXf full(n, n);
    for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < n; ++j) full(i, j) = c[i] - c[j];
    }
    const auto y = forward(scaled_dot_product >> row_column_bias(c, -c) >> causal, x);
    CHECK(same_bits(y.out, forward(scaled_dot_product >> bias(full) >> causal, x).out));
}

TEST_CASE("what is not finite at a masked pair reaches nothing") {
    const auto x = random_operands({.queries = 20, .keys = 20}, 7);
    Random random(6);
    Eigen::VectorXd b = random_matrix<double>(random, 20, 1);
    const auto attention = [&] {
        return scaled_dot_product >> column_bias(b) >> ~mask([](Position p) { return p.key == 3; });
    };
    b[3] = std::numeric_limits<double>::quiet_NaN();
    const auto y = forward(attention(), x);
    const auto d = backward(attention(), x);
    b[3] = 0;
    CHECK(same_bits(y.out, forward(attention(), x).out));
    CHECK(same_bits(parameters_of(d.parameters), parameters_of(backward(attention(), x).parameters)));
}

TEST_CASE("biases of rows and columns that do not fit are refused") {
    const auto x = random_operands({.queries = 3, .keys = 5, .heads = 2}, 8);
    const auto call = [&](const auto& modifier) { return refusal([&] { forward(dot_product >> modifier, x); }); };
    CHECK(call(row_bias(Eigen::VectorXd::Zero(5))) ==
          "row_bias (5x1) must be 3x1 or 3x2: a row a query, a column for all heads or a head");
    CHECK(call(column_bias(Eigen::MatrixXd::Zero(5, 3))) ==
          "column_bias (5x3) must be 5x1 or 5x2: a row a key, a column for all heads or a head");
    CHECK(call(column_bias(Eigen::MatrixXd::Zero(5, 4), 2)) == "column_bias: holds 2 sequences, the call has 1");
    CHECK(refusal([] { row_bias(Eigen::MatrixXd(3, 0)); }) ==
          "row_bias (3x0) must have a column, or one a head, for each of the 1 sequences");
    CHECK(refusal([] { row_column_bias(Eigen::VectorXd(3), Eigen::MatrixXd(5, 3), 2); }) ==
          "row_bias (3x1) must have a column, or one a head, for each of the 2 sequences");
}

}  // namespace test_row_column_bias

// Local attention with predicted centres, against plain loops in double.

#include <attend/attend.hpp>

#include <cmath>
#include <limits>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_local_p {
namespace {

constexpr double reach = 3;

/// Centres in 0 … keys, so that no key stands at the edge of a window, where there is no derivative.
Eigen::MatrixXd centres_of(Index rows, Index columns, double keys, std::uint64_t seed) {
    Random random(seed);
    Eigen::MatrixXd centres(rows, columns);
    for (double& p : centres.reshaped()) p = std::floor(random_number(random, 0.5) * keys + keys / 2) + 0.3;
    return centres;
}

/// The row of weights that the scores s give: of the paper, or divided by their sum after the Gaussian.
Eigen::RowVectorXd weights_by_hand(const Eigen::RowVectorXd& s, double p, bool of_paper) {
    double sum = 0;
    Eigen::RowVectorXd weights = Eigen::RowVectorXd::Zero(s.size());
    for (Index j = 0; j < s.size(); ++j) {
        const double distance = static_cast<double>(j) - p, sigma = reach / 2;
        if (std::abs(distance) > reach) continue;
        const double gauss = std::exp(-distance * distance / (2 * sigma * sigma));
        weights[j] = std::exp(s[j]) * gauss;
        sum += of_paper ? std::exp(s[j]) : weights[j];
    }
    return sum == 0 ? weights : Eigen::RowVectorXd(weights / sum);
}

}  // namespace

TEST_CASE("weights are those of scores under a Gaussian around each query's centre, and 0 out of reach") {
    const Index queries = GENERATE(1, 7, 70);  // by each of the kernels
    const Operands<double> x = random_operands({.queries = queries, .keys = 90, .query_offset = 4}, 1);
    const Eigen::MatrixXd centres = centres_of(queries, 1, 90, 2);
    const auto y = forward(dot_product >> local_p(centres, reach), x);
    const RowMatrix<double> scores = x.q * x.k.transpose();
    RowMatrix<double> right(queries, 90);
    for (Index i = 0; i < queries; ++i) right.row(i) = weights_by_hand(scores.row(i), centres(i, 0), false);
    CHECK(distance(y.weights, right) <= 1e-13);
    CHECK(((y.weights.array() == 0) == (right.array() == 0)).all());
}

TEST_CASE("Luong's weights, which the Gaussian multiplies after the softmax, are those times e^(L - L0)") {
    const Operands<double> x = random_operands({.queries = 5, .keys = 20}, 3);
    const Eigen::MatrixXd centres = centres_of(5, 1, 20, 4);
    const auto y = forward(dot_product >> local_p(centres, reach), x);
    // The scores within the window alone: a mask of the same reach.
    const auto plain = forward(dot_product >> mask([&](Position p) {
                                   return std::abs(static_cast<double>(p.key) - centres(p.row, 0)) <= reach;
                               }),
                               x);
    const RowMatrix<double> scores = x.q * x.k.transpose();
    for (Index i = 0; i < 5; ++i) {
        const Eigen::RowVectorXd right = weights_by_hand(scores.row(i), centres(i, 0), true) * x.v;
        CHECK(distance(y.out.row(i) * std::exp(y.lse(i, 0) - plain.lse(i, 0)), right) <= 1e-14);
    }
}

TEST_CASE("centres have exact gradients, of one head, of heads and of sequences") {
    const Operands<double> one = random_operands({.queries = 6, .keys = 20}, 5);
    check_gradients(dot_product >> local_p(centres_of(6, 1, 20, 6), reach), one);
    const Operands<double> many = random_operands({.queries = 20, .keys = 11, .heads = 4, .kv_heads = 2}, 7);
    check_gradients(scaled_dot_product >> local_p(centres_of(20, 4, 11, 8), reach) >> causal, many);
    const Operands<double> ragged =
        random_operands({.queries = 6, .keys = 14, .sequences = {0, 2, 6}, .key_sequences = {0, 8, 14}}, 9);
    check_gradients(dot_product >> local_p(centres_of(8, 1, 8, 10), reach, 2), ragged);
    check_gradients(dot_product >> local_p(centres_of(4, 1, 8, 11), reach), ragged);
}

TEST_CASE("sequences with centres of their own are calls of their own") {
    const Eigen::MatrixXd centres = centres_of(6, 1, 9, 12);  // two sequences of up to 3 queries
    const Operands<double> x =
        random_operands({.queries = 5, .keys = 18, .sequences = {0, 3, 5}, .key_sequences = {0, 9, 18}}, 13);
    const auto y = forward(dot_product >> local_p(centres, reach, 2), x);
    const auto first =
        (dot_product >> local_p(centres.topRows(3), reach))(x.q.topRows(3), x.k.topRows(9), x.v.topRows(9));
    const auto second = (dot_product >> local_p(centres.middleRows(3, 2), reach))(x.q.bottomRows(2), x.k.bottomRows(9),
                                                                                  x.v.bottomRows(9));
    CHECK(same_bits(y.out.topRows(3), first));
    CHECK(same_bits(y.out.bottomRows(2), second));
}

TEST_CASE("a window without a key is an empty row") {
    const Operands<float> x = random_operands<float>({.queries = 2, .keys = 4}, 14);
    const auto y = forward(dot_product >> local_p(Eigen::Vector2f(-9, 1), 2), x);
    CHECK((y.out.row(0).array() == 0).all());
    CHECK(y.lse(0, 0) == -std::numeric_limits<float>::infinity());
    CHECK((y.out.row(1).array() != 0).all());
}

TEST_CASE("centres are predicted by S σ(vᵀ tanh(Wᵀ h)), with exact gradients") {
    Random random(15);
    LocalCentres<double> predict(4, 5, 1);
    RowMatrix<double> h = random_matrix<double>(random, 6, 4);
    const Eigen::VectorXd centres = predict(h, 30);
    for (Index i = 0; i < 6; ++i) {
        double sum = 0;
        for (Index a = 0; a < 5; ++a) {
            double inner = 0;
            for (Index c = 0; c < 4; ++c) inner += predict.weight(c, a) * h(i, c);
            sum += predict.score_weight[a] * std::tanh(inner);
        }
        CHECK(centres[i] == Approx(30 / (1 + std::exp(-sum))).epsilon(1e-14));
    }
    const RowMatrix<double> dcentres = random_matrix<double>(random, 6, 1);
    RowMatrix<double> dh;
    auto gradient = zero_gradient(predict);
    predict.backward(h, 30, dcentres, dh, &gradient);
    const auto outputs = [&] {
        Outputs<double> y;
        y.out = predict(h, 30);
        return y;
    };
    const Loss loss(outputs, dcentres);
    check_slopes(loss, span_of(h), span_of(dh), "dh");
    check_slopes(loss, span_of(predict.weight), span_of(gradient.weight), "weight");
    check_slopes(loss, span_of(predict.score_weight), span_of(gradient.score_weight), "score_weight");
    const RowMatrix<double> once = dh;
    predict.backward(h, 30, dcentres, dh);
    CHECK(distance(dh, 2 * once) <= 1e-15 * 64);
}

TEST_CASE("centres that do not fit are refused") {
    const Operands<double> x = random_operands({.queries = 3, .keys = 4}, 16);
    CHECK(refusal([&] { forward(dot_product >> local_p(Eigen::MatrixXd::Zero(2, 1), 1), x); }) ==
          "centre (2x1) must have a row for each of 3 queries, and one column or one for each of 1 heads");
    CHECK(refusal([&] { forward(dot_product >> local_p(Eigen::MatrixXd::Zero(3, 2), 1), x); }) ==
          "centre (3x2) must have a row for each of 3 queries, and one column or one for each of 1 heads");
    CHECK(refusal([&] { forward(dot_product >> local_p(Eigen::MatrixXd::Zero(6, 1), 1, 2), x); }) ==
          "local_p: holds 2 sequences, the call has 1");
    CHECK(refusal([] { local_p(Eigen::MatrixXd::Zero(3, 1), 0); }) ==
          "local_p: the reach must be a number above 0, got 0");
    CHECK(refusal([] { local_p(Eigen::MatrixXd::Zero(3, 1), 1, 2); }) ==
          "local_p: 2 sequences do not divide the rows of centres (3x1)");
    CHECK(refusal([] { LocalCentres<double>(4, 5, 1)(Eigen::MatrixXd::Zero(2, 3), 7); }) ==
          "h (2x3) must have a column for each row of weight (4x5), which has a column for each of the 5 values of "
          "score_weight; and keys not be negative, got 7");
}

}  // namespace test_local_p

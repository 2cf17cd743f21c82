#include <attend/attend.hpp>

#include <cmath>
#include <limits>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/refusal.hpp>
#include <support/scores.hpp>

using namespace attend;
using namespace attend::test;

namespace test_rms_norm {
namespace {

template <class T>
RmsNormAttention<T> with_gains(Index d, std::uint64_t seed, double epsilon) {
    RmsNormAttention<T> attention(d, RmsNorm{epsilon});
    Random random(seed);
    attention.q_norm = random_matrix<T>(random, d, 1);
    attention.k_norm = random_matrix<T>(random, d, 1);
    return attention;
}

/// By the definition, in double.
RowMatrix<double> normed(const RowMatrix<double>& x, const Eigen::VectorXd& gain, double epsilon) {
    RowMatrix<double> y = x;
    for (Index i = 0; i < x.rows(); ++i) {
        double squares = 0;
        for (Index a = 0; a < x.cols(); ++a) squares += x(i, a) * x(i, a);
        const double rms = std::sqrt(squares / static_cast<double>(x.cols()) + epsilon);
        for (Index a = 0; a < x.cols(); ++a) y(i, a) = gain[a] * x(i, a) / rms;
    }
    return y;
}

}  // namespace

TEST_CASE("the score is the scaled dot product of normed queries and keys") {
    const Index d = GENERATE(1, 5, 16, 33);
    const double epsilon = GENERATE(0.0, 0.25);
    Random random(1);
    const RowMatrix<double> q = random_matrix<double>(random, 4, d), k = random_matrix<double>(random, 3, d);
    auto attention = with_gains<double>(d, 2, epsilon);
    const RowMatrix<double> products =
        normed(q, attention.q_norm, epsilon) * normed(k, attention.k_norm, epsilon).transpose();
    CHECK(distance(scores_of(attention, q, k), products / std::sqrt(static_cast<double>(d))) <=
          1e-14 * magnitude(products));
    attention.scale = 3.0;
    CHECK(distance(scores_of(attention, q, k), 3.0 * products) <= 3e-14 * magnitude(products));
}

TEST_CASE("lengths do not matter where epsilon is 0, however large or small, and zeros stay zeros") {
    Random random(2);
    const auto q = random_matrix<float>(random, 4, 21), k = random_matrix<float>(random, 3, 21);
    const auto attention = with_gains<float>(21, 3, 0.0);
    const auto scores = scores_of(attention, q, k);
    for (const float length : {0x1p-100f, 0x1p-20f, 0x1p20f, 0x1p100f})
        CHECK(distance(scores_of(attention, RowMatrix<float>(length * q), k), scores) < 2e-6);
    const RowMatrix<float> zeros = RowMatrix<float>::Zero(4, 21);
    CHECK((scores_of(attention, zeros, k).array() == 0).all());
}

TEST_CASE("an epsilon that outweighs the squares counts, of rows beyond a float's range too") {
    const auto attention = with_gains<float>(4, 3, 1.0);
    const RowMatrix<float> q = RowMatrix<float>::Constant(1, 4, 1e-30f), k = RowMatrix<float>::Constant(1, 4, 1e30f);
    const float expected = 1e-30f * attention.q_norm.dot(attention.k_norm) / 2;  // k / rms(k) = 1
    CHECK(scores_of(attention, q, k)(0, 0) == Approx(expected).epsilon(1e-5));
}

TEST_CASE("gradients of queries, keys and gains are exact") {
    const double epsilon = GENERATE(0.0, 0.3);
    check_gradients(with_gains<double>(5, 4, epsilon),
                    random_operands({.queries = 3, .keys = 4, .d_q = 5, .d_k = 5}, 5));
    check_gradients(with_gains<double>(19, 4, epsilon) >> causal,
                    random_operands({.queries = 3, .keys = 4, .d_q = 19, .d_k = 19, .heads = 4, .kv_heads = 2}, 6));
}

TEST_CASE("NaN in a masked key reaches no gradient") {
    Operands<double> x = random_operands({.queries = 3, .keys = 4, .d_q = 5, .d_k = 5}, 7);
    const auto attention = with_gains<double>(5, 4, 1e-6) >> mask([](Position p) { return p.key != 2; });
    x.k.row(2).setConstant(std::numeric_limits<double>::quiet_NaN());
    const auto d = backward(attention, x);
    CHECK(d.dq.allFinite());
    CHECK((d.dk.row(2).array() == 0).all());
    CHECK(d.parameters.k_norm.allFinite());
}

TEST_CASE("gains and an epsilon that do not fit are refused") {
    const RowMatrix<double> q = RowMatrix<double>::Ones(2, 4), k = RowMatrix<double>::Ones(3, 4);
    CHECK(refusal([&] { RmsNormAttention<double>(5)(q, k, k); }) ==
          "q (2x4) and k (3x4) must have a column for each gain, q_norm has 5 and k_norm 5");
    CHECK(refusal([&] { RmsNormAttention<double>(4, RmsNorm{-1.0})(q, k, k); }) ==
          "rms_norm: epsilon must be a number that is not negative, got -1");
}

}  // namespace test_rms_norm

#include <attend/score/additive.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/scores.hpp>

using namespace attend;
using namespace attend::test;

namespace test_additive {
namespace {

AdditiveAttention<double> with_bias(Index d_q, Index d_k, Index hidden, std::uint64_t seed) {
    AdditiveAttention<double> attention(d_q, d_k, hidden, seed);
    Random random(seed);
    attention.bias = random_matrix<double>(random, hidden, 1);
    return attention;
}

}  // namespace

TEST_CASE("the additive score is vᵀ tanh(Wqᵀ q + Wkᵀ k + b)") {
    Random random(1);
    const auto q = random_matrix<double>(random, 4, 5), k = random_matrix<double>(random, 3, 2);
    const AdditiveAttention<double> attention = with_bias(5, 2, 6, 7);
    RowMatrix<double> expected(4, 3);
    for (Index i = 0; i < 4; ++i) {
        for (Index j = 0; j < 3; ++j) {
            const Eigen::VectorXd hidden = attention.query_weight.transpose() * q.row(i).transpose() +
                                           attention.key_weight.transpose() * k.row(j).transpose() + attention.bias;
            expected(i, j) = attention.score_weight.dot(hidden.array().tanh().matrix());
        }
    }
    CHECK(distance(scores_of(attention, q, k), expected) < 1e-14);
}

TEST_CASE("the additive score saturates at the sum of |v|") {
    AdditiveAttention<double> attention(2, 2, 5, 7);
    attention.query_weight.setOnes();
    const double most = attention.score_weight.cwiseAbs().sum();
    attention.score_weight = attention.score_weight.cwiseAbs();
    const RowMatrix<double> q{{1e3, 1e3}, {-1e3, -1e3}}, k{{0.5, -0.5}};
    CHECK(distance(scores_of(attention, q, k), RowMatrix<double>{{most}, {-most}}) < 1e-15);
}

TEST_CASE("weights come from their seed, the bias starts at 0") {
    const AdditiveScore<float> score(4, 3, 5, 11), same(4, 3, 5, 11), other(4, 3, 5, 12);
    CHECK((score.query_weight == same.query_weight && score.key_weight == same.key_weight &&
           score.score_weight == same.score_weight));
    CHECK((score.query_weight != other.query_weight && score.key_weight != other.key_weight &&
           score.score_weight != other.score_weight));
    CHECK((score.bias.size() == 5 && score.bias.isZero(0)));
}

TEMPLATE_TEST_CASE("additive scores hold for features of any size", "", float, double) {
    using Matrix = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
    AdditiveAttention<TestType> attention(1, 1, 1, 1);
    attention.query_weight.setOnes();
    attention.key_weight.setOnes();
    attention.bias.setZero();
    attention.score_weight.setOnes();
    Matrix k(2, 1), v(2, 1);
    v << 1, 3;
    for (const double query : {0.0, -11.0, 11.0, 300.0}) {
        for (const double key : {12.0, 1.2, -12.0, -300.0, 1e4}) {
            CAPTURE(query, key);
            k << static_cast<TestType>(key), -1;
            const double a = std::exp(std::tanh(query + static_cast<double>(static_cast<TestType>(key)))),
                         b = std::exp(std::tanh(query - 1));
            const Matrix out = attention(Matrix::Constant(1, 1, static_cast<TestType>(query)), k, v);
            CHECK(static_cast<double>(out(0, 0)) == Approx((a + 3 * b) / (a + b)).epsilon(1e-6));
        }
    }
}

}  // namespace test_additive

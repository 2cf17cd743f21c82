#include <attend/score/general.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/scores.hpp>

using namespace attend;
using namespace attend::test;

namespace test_general {

TEST_CASE("the general score is qᵀ W k") {
    Random random(1);
    const auto q = random_matrix<double>(random, 4, 5), k = random_matrix<double>(random, 3, 2);
    const GeneralAttention<double> attention(5, 2, 7);
    CHECK(distance(scores_of(attention, q, k), q * attention.weight * k.transpose()) < 1e-15);
}

TEST_CASE("with the identity the general score is the dot score") {
    Random random(2);
    const auto q = random_matrix<double>(random, 4, 5), k = random_matrix<double>(random, 3, 5);
    GeneralAttention<double> attention(5, 5, 7);
    attention.weight.setIdentity();
    CHECK(distance(scores_of(attention, q, k), scores_of(dot_product, q, k)) < 1e-15);
}

TEST_CASE("the weight comes from its seed, uniform within Xavier's bound") {
    const GeneralScore<double> score(40, 60, 5), same(40, 60, 5), other(40, 60, 6);
    const double bound = std::sqrt(6.0 / 100.0);
    CHECK(score.weight == same.weight);
    CHECK(score.weight != other.weight);
    CHECK(score.weight.cwiseAbs().maxCoeff() <= bound);
    // 2400 draws: the mean's deviation is bound / √7200, the variance's about 2 % of bound² / 3.
    CHECK(std::abs(score.weight.mean()) < 4 * bound / std::sqrt(7200.0));
    CHECK(score.weight.squaredNorm() / 2400 == Approx(bound * bound / 3).epsilon(0.08));
}

}  // namespace test_general

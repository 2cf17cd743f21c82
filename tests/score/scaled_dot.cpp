#include <attend/score/scaled_dot.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/scores.hpp>

using namespace attend;
using namespace attend::test;

namespace test_scaled_dot {

TEST_CASE("the scaled dot score is q · k / √d_k") {
    Random random(1);
    for (const Index d : {1, 4, 7}) {
        const auto q = random_matrix<double>(random, 4, d), k = random_matrix<double>(random, 3, d);
        CHECK(distance(scores_of(scaled_dot_product, q, k), q * k.transpose() / std::sqrt(static_cast<double>(d))) <
              1e-15);
    }
}

TEST_CASE("a given scale replaces the default, 0 and negative ones included") {
    Random random(2);
    const auto q = random_matrix<double>(random, 4, 9), k = random_matrix<double>(random, 3, 9);
    for (const double scale : {1.0, 0.25, -2.0, 0.0}) {
        CHECK(distance(scores_of(ScaledDotProductAttention(scale), q, k), scale * q * k.transpose()) < 1e-15 * 9);
    }
    CHECK(same_bits(scores_of(ScaledDotProductAttention(1.0), q, k), scores_of(dot_product, q, k)));
}

TEST_CASE("the scale is a constant: nothing trains") {
    int parameters = 0;
    const ScaledDotProductAttention attention(0.5);
    visit_parameters(attention, [&](std::string_view, const auto&) { ++parameters; });
    CHECK(parameters == 0);
}

}  // namespace test_scaled_dot

#include <attend/normalizer/sigmoid.hpp>

#include <cmath>

#include <support/catch.hpp>
#include <support/rows.hpp>

using namespace attend;
using namespace attend::test;

namespace test_sigmoid {

using Row = std::vector<double>;

TEST_CASE("weights are σ(s + bias), each by itself") {
    const Row scores{-3.0, 0.0, 0.5, 4.0}, p = normalized(sigmoid(0.5), scores).weights;
    for (std::size_t j = 0; j < scores.size(); ++j) {
        CHECK(p[j] == Approx(1.0 / (1.0 + std::exp(-scores[j] - 0.5))).epsilon(1e-15));
        CHECK(normalized(sigmoid(0.5), {scores[j]}).weights[0] == p[j]);
    }
    CHECK(normalized(sigmoid(0), {0.0, 0.0, 0.0}).weights == Row{0.5, 0.5, 0.5});
}

TEST_CASE("far scores give 0 and 1 without overflow") {
    CHECK(normalized(sigmoid(0.0), {-1e5, 1e5, infinity, -infinity}).weights == Row{0.0, 1.0, 1.0, 0.0});
    CHECK(normalized(sigmoid(0.0), {-700.0}).weights[0] == Approx(std::exp(-700.0)).epsilon(1e-14));
}

TEST_CASE("with a bias of −log n, equal scores of 0 weigh 1 in all for large n") {
    const double n = 1000.0;
    CHECK(sum_of(normalized(sigmoid(-std::log(n)), Row(1000, 0.0)).weights) == Approx(n / (n + 1)).epsilon(1e-12));
}

TEST_CASE("each head has the bias at its place, and the LSE is that of the scores") {
    const auto normalizer = sigmoid(Eigen::Vector2d(0.5, -2.0));
    for (const Index head : {0, 1}) {
        const Normalized y = normalized(normalizer, {1.0, 0.0}, {.head = head});
        CHECK(y.weights == normalized(sigmoid(head == 0 ? 0.5 : -2.0), {1.0, 0.0}).weights);
        CHECK(y.lse == lse_of({1.0, 0.0}));
    }
}

}  // namespace test_sigmoid

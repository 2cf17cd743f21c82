#include <attend/normalizer/sparsemax.hpp>

#include <algorithm>
#include <functional>

#include <support/catch.hpp>
#include <support/random.hpp>
#include <support/rows.hpp>

using namespace attend;
using namespace attend::test;

namespace test_sparsemax {
namespace {

/// τ by sorting (Martins and Astudillo 2016): the largest support whose smallest score is still above its τ.
std::vector<double> sorted_solution(std::vector<double> scores) {
    std::vector<double> sorted = scores;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    double sum = 0, tau = 0;
    for (std::size_t k = 0; k < sorted.size(); ++k) {
        sum += sorted[k];
        const double candidate = (sum - 1) / static_cast<double>(k + 1);
        if (sorted[k] > candidate) tau = candidate;
    }
    for (double& s : scores) s = std::max(s - tau, 0.0);
    return scores;
}

}  // namespace

TEST_CASE("sparsemax is the solution found by sorting, with the same zeros") {
    Random random(1);
    for (int round = 0; round < 300; ++round) {
        const auto scores = random_row(random, random_index(random, 1, 40), 2.0);
        const auto p = normalized(sparsemax, scores).weights, expected = sorted_solution(scores);
        REQUIRE(largest_difference(p, expected) < 1e-14);
        for (std::size_t j = 0; j < p.size(); ++j) REQUIRE((p[j] == 0) == (expected[j] == 0));
    }
}

TEST_CASE("scores on the simplex are their own sparsemax") {
    const std::vector<double> weights{0.5, 0.0, 0.25, 0.25, 0.0};
    CHECK(normalized(sparsemax, weights).weights == weights);
}

TEST_CASE("sparsemax reports the LSE of the scores") {
    CHECK(normalized(sparsemax, {1.0, 2.0, -3.0}).lse == lse_of({1.0, 2.0, -3.0}));
    CHECK(normalized(sparsemax, {-infinity}).lse == -infinity);
}

}  // namespace test_sparsemax

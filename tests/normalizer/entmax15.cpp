#include <attend/normalizer/entmax15.hpp>

#include <algorithm>
#include <cmath>
#include <functional>

#include <support/catch.hpp>
#include <support/random.hpp>
#include <support/rows.hpp>

using namespace attend;
using namespace attend::test;

namespace test_entmax15 {
namespace {

/// τ by sorting (Peters, Niculae and Martins 2019): for a support of the k largest x = s/2, Σ (x − τ)² = 1 is a
/// quadratic in τ.
std::vector<double> sorted_solution(std::vector<double> scores) {
    for (double& s : scores) s /= 2;
    std::vector<double> sorted = scores;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    double sum = 0, squares = 0, tau = 0;
    for (std::size_t k = 0; k < sorted.size(); ++k) {
        sum += sorted[k];
        squares += sorted[k] * sorted[k];
        const double n = static_cast<double>(k + 1), mean = sum / n, spread = squares - n * mean * mean;
        if (spread > 1) break;  // no τ makes a support this wide sum to 1
        const double candidate = mean - std::sqrt((1 - spread) / n);
        if (candidate <= sorted[k]) tau = candidate;
    }
    for (double& x : scores) x = x > tau ? (x - tau) * (x - tau) : 0.0;
    return scores;
}

}  // namespace

TEST_CASE("entmax 1.5 is the solution found by sorting") {
    Random random(1);
    for (int round = 0; round < 300; ++round) {
        const auto scores = random_row(random, random_index(random, 1, 40), 3.0);
        REQUIRE(largest_difference(normalized(entmax15, scores).weights, sorted_solution(scores)) < 1e-13);
    }
}

TEST_CASE("entmax 1.5 of two scores has a closed form") {
    // With x = d/2 the difference of the halves: p = (1 ± x √(2 − x²)) / 2 while x < 1, then all or nothing.
    for (const double d : {0.0, 0.3, 1.0, 1.9, 2.0, 5.0}) {
        const double x = std::min(d / 2, 1.0), larger = (1 + x * std::sqrt(2 - x * x)) / 2;
        CHECK(largest_difference(normalized(entmax15, {d, 0.0}).weights, {larger, 1 - larger}) < 1e-15);
    }
}

TEST_CASE("entmax 1.5 reports the LSE of the scores") {
    CHECK(normalized(entmax15, {1.0, 2.0, -3.0}).lse == lse_of({1.0, 2.0, -3.0}));
    CHECK(normalized(entmax15, {-infinity}).lse == -infinity);
}

}  // namespace test_entmax15

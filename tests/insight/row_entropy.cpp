// The entropy of each row against −Σ p log p in double, of the weights that the same call gives.

#include <attend/insight/row_entropy.hpp>

#include <cmath>

#include <support/refusal.hpp>

#include "known_weights.hpp"

using namespace attend;
using namespace attend::test;

namespace test_row_entropy {

TEMPLATE_TEST_CASE("the entropy of a row is that of its weights", "", float, double) {
    for_each_known<TestType>([](const auto& known) {
        auto entropy = row_entropy<TestType>();
        known.show_to({entropy});
        REQUIRE(entropy.values().rows() == known.rows());
        REQUIRE(entropy.values().cols() == known.heads());
        double worst = 0;
        for (Index head = 0; head < known.heads(); ++head) {
            for (Index row = 0; row < known.rows(); ++row) {
                double exact = 0, sum = 0;
                for (Index key = 0; key < known.keys(); ++key) {
                    const double p = known.weight(head, row, key);
                    if (p > 0) exact -= p * std::log(p), sum += p * (std::abs(std::log(p)) + 1);
                }
                const double error = std::abs(static_cast<double>(entropy.values()(row, head)) - exact);
                const double roundings = 8 + 64 + static_cast<double>(known.keys()) / 64;
                worst = std::max(worst, sum == 0 ? error * 1e300 : error / (roundings * rounding_of<TestType> * sum));
            }
        }
        CHECK(worst <= 1);
    });
}

TEST_CASE("rows that look at one key or at none have entropy 0, at n alike log n") {
    const RowMatrix<double> x = RowMatrix<double>::Ones(100, 4);
    RowMatrix<double> out;
    auto entropy = row_entropy<double>();
    (dot_product >> causal)(x, x, x, out, {.insight = entropy});
    for (Index row = 0; row < 100; ++row)
        CHECK(std::abs(entropy.values()(row, 0) - std::log(static_cast<double>(row + 1))) < 1e-14);
    CHECK(entropy.values()(0, 0) == 0);
    (dot_product >> mask([](Position p) { return p.query > 50; }))(x, x, x, out, {.insight = entropy});
    CHECK((entropy.values().topRows(51).array() == 0).all());
    CHECK((entropy.values().bottomRows(49).array() > 4).all());
}

TEST_CASE("a large constant on all scores, and far apart ones, cost the entropy no digits") {
    Random random(3);
    const auto q = random_matrix<float>(random, 70, 8), k = random_matrix<float>(random, 90, 8);
    RowMatrix<float> out, weights;
    auto entropy = row_entropy<float>();
    const auto exact = [&](Index row) {
        double sum = 0;
        for (Index j = 0; j < 90; ++j) {
            const auto p = static_cast<double>(weights(row, j));
            if (p > 0) sum -= p * std::log(p);
        }
        return sum;
    };
    for (const float factor : {1.f, 100.f}) {
        (dot_product >> scale(factor) >> modifier([](auto s, auto) { return s - 4096.f; }))(
            q, k, k, out, {.weights = weights, .insight = entropy});
        for (Index row = 0; row < 70; ++row)
            CHECK(std::abs(static_cast<double>(entropy.values()(row, 0)) - exact(row)) <
                  80 * 0x1p-24 * (1 + exact(row)));
    }
}

TEST_CASE("NaN in a visible key shows in the rows that see it alone") {
    Random random(4);
    RowMatrix<float> x = random_matrix<float>(random, 80, 4), out;
    x.row(40).setConstant(std::numeric_limits<float>::quiet_NaN());
    const RowMatrix<float> q = random_matrix<float>(random, 80, 4);
    auto entropy = row_entropy<float>();
    (dot_product >> causal)(q, x, q, out, {.insight = entropy});
    for (Index row = 0; row < 80; ++row) CHECK(std::isnan(entropy.values()(row, 0)) == (row >= 40));
}

TEST_CASE("a reduction looks at a call once, and at queries that follow each other") {
    const RowMatrix<float> x = RowMatrix<float>::Ones(3, 4);
    auto entropy = row_entropy<float>();
    RowMatrix<float> out;
    CHECK(refusal([&] {
              scaled_dot_product(x, x, x, out, {.insight = {entropy, entropy}});
          }) == "insight: reduction 1 is named twice: it would count everything twice");
    const std::vector<Index> positions{5, 2, 9};
    CHECK(refusal([&] { scaled_dot_product(x, x, x, out, {.insight = {entropy}, .query_positions = positions}); }) ==
          "insight: reductions see queries that follow each other: leave it or query_positions out");
    CHECK(out.size() == 0);
}

}  // namespace test_row_entropy

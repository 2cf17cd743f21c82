#include <attend/modifier/adaptive_span.hpp>

#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_adaptive_span {

TEST_CASE("an adaptive span adds log clamp((ramp + span − |query − key|) / ramp, 0, 1)") {
    const auto modifier = adaptive_span(3.0, 4.0);
    for (Index key = 0; key < 20; ++key) {
        const double away = std::abs(10.0 - static_cast<double>(key));
        const double m = std::min(std::max((4.0 + 3.0 - away) / 4.0, 0.0), 1.0);
        CHECK(modifier(0.5, Position{.query = 10, .key = key}) == 0.5 + std::log(m));
    }
    CHECK(adaptive_span(Eigen::Vector2d(0.0, 9.0), 1.0)(0.5, Position{.query = 5, .key = 0, .head = 0}) ==
          -std::numeric_limits<double>::infinity());
    CHECK(adaptive_span(Eigen::Vector2d(0.0, 9.0), 1.0)(0.5, Position{.query = 5, .key = 0, .head = 1}) == 0.5);
}

TEST_CASE("weights are those of the softmax times the ramp, and 0 beyond it") {
    const Operands<double> x = random_operands({.queries = 5, .keys = 12, .query_offset = 4}, 1);
    const auto plain = forward(dot_product, x), spanned = forward(dot_product >> adaptive_span(1.5, 3.0), x);
    RowMatrix<double> ramped = plain.weights;
    for (Index i = 0; i < 5; ++i) {
        for (Index j = 0; j < 12; ++j) {
            const double away = std::abs(static_cast<double>(i + 4 - j));
            ramped(i, j) *= std::min(std::max((3.0 + 1.5 - away) / 3.0, 0.0), 1.0);
            CHECK((spanned.weights(i, j) == 0) == (away >= 4.5));
        }
        ramped.row(i) /= ramped.row(i).sum();
    }
    CHECK(distance(spanned.weights, ramped) < 1e-15);
}

}  // namespace test_adaptive_span

#include <attend/modifier/alibi.hpp>

#include <support/catch.hpp>

using namespace attend;

namespace test_alibi {

TEST_CASE("ALiBi subtracts slope · (query − key)") {
    const auto one_slope = alibi(0.25);
    CHECK(one_slope(1.0, Position{.query = 9, .key = 5}) == 0.0);
    CHECK(one_slope(1.0, Position{.query = 5, .key = 9}) == 2.0);
    CHECK(one_slope(1.0, Position{.query = 7, .key = 7, .row = 2, .head = 3}) == 1.0);

    const auto slope_a_head = alibi(Eigen::Vector3d(0.5, 0.25, 0.125));
    for (Index head = 0; head < 3; ++head) {
        CHECK(slope_a_head(0.0, Position{.query = 8, .key = 0, .head = head}) == -4.0 / static_cast<double>(1 << head));
    }
}

TEST_CASE("slopes may be given in any scalar and shape of vector") {
    CHECK(alibi(0.125f).slope == 0.125);
    CHECK(alibi(2).slope == 2.0);
    CHECK(alibi(Eigen::RowVector2f(0.5f, 0.25f)).slope == Eigen::Vector2d(0.5, 0.25));
}

TEST_CASE("slopes of a power of two are its geometric sequence") {
    for (const Index heads : {1, 2, 4, 8, 64}) {
        const Eigen::VectorXd slopes = alibi_slopes(heads);
        CHECK(slopes.size() == heads);
        CHECK(slopes[heads - 1] == std::exp2(-8.0));
        for (Index h = 1; h < heads; ++h) CHECK(slopes[h] / slopes[h - 1] == Approx(slopes[0]).epsilon(1e-14));
    }
}

TEST_CASE("slopes of other numbers go on with every second slope of twice the power of two") {
    for (const Index heads : {3, 5, 6, 7, 12}) {
        Index n = 1;
        while (2 * n <= heads) n *= 2;
        const Eigen::VectorXd slopes = alibi_slopes(heads), half = alibi_slopes(n), twice = alibi_slopes(2 * n);
        CHECK(slopes.head(n) == half);
        for (Index h = n; h < heads; ++h) CHECK(slopes[h] == twice[2 * (h - n)]);
    }
}

}  // namespace test_alibi

#include <cmath>

#include <attend/position/sinusoidal.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>

using namespace attend;
using namespace attend::test;

namespace test_sinusoidal {

TEST_CASE("the columns are the sines and cosines of Vaswani et al.") {
    const Index width = GENERATE(1, 2, 5, 6);
    const RowMatrix<double> encoding = sinusoidal<double>(7, width, 3, 100.0);
    REQUIRE(encoding.rows() == 7);
    REQUIRE(encoding.cols() == width);
    for (Index row = 0; row < 7; ++row) {
        for (Index i = 0; 2 * i < width; ++i) {
            const double angle = static_cast<double>(3 + row) /
                                 std::pow(100.0, 2.0 * static_cast<double>(i) / static_cast<double>(width));
            CHECK(encoding(row, 2 * i) == Approx(std::sin(angle)).margin(1e-15).epsilon(1e-14));
            if (2 * i + 1 < width)
                CHECK(encoding(row, 2 * i + 1) == Approx(std::cos(angle)).margin(1e-15).epsilon(1e-14));
        }
    }
}

TEST_CASE("figures by hand: base 10000, four columns") {
    const RowMatrix<double> encoding = sinusoidal<double>(2, 4);
    CHECK(encoding.row(0) == Eigen::RowVector4d(0, 1, 0, 1));
    CHECK(encoding.row(1).isApprox(
        Eigen::RowVector4d(0.841470984807896507, 0.540302305868139717, 0.00999983333416666468, 0.999950000416665278),
        1e-15));
}

TEST_CASE("an offset is where the rows stand, and float is the double encoding rounded") {
    const RowMatrix<double> whole = sinusoidal<double>(20, 8);
    CHECK(same_bits(sinusoidal<double>(5, 8, 15), whole.bottomRows(5)));
    CHECK(same_bits(sinusoidal<float>(20, 8), whole.cast<float>()));
}

TEST_CASE("encodings of two positions meet at an angle that depends on their distance alone") {
    const RowMatrix<double> encoding = sinusoidal<double>(50, 16);
    for (Index apart = 0; apart < 10; ++apart) {
        const double product = encoding.row(0).dot(encoding.row(apart));
        for (Index from = 1; from < 40; from += 7) {
            CHECK(encoding.row(from).dot(encoding.row(from + apart)) == Approx(product).epsilon(1e-13));
        }
    }
}

TEST_CASE("negative sizes are refused, and none give an empty encoding") {
    CHECK_THROWS_MATCHES(
        sinusoidal<float>(-1, 4), std::invalid_argument,
        Catch::Matchers::Message("attend: sinusoidal: positions and width must not be negative, got -1 and 4"));
    CHECK_THROWS_AS(sinusoidal<float>(4, -1), std::invalid_argument);
    CHECK(sinusoidal<float>(0, 4).size() == 0);
    CHECK(sinusoidal<float>(4, 0).size() == 0);
}

}  // namespace test_sinusoidal

#include <cmath>

#include <attend/core/dual.hpp>
#include <attend/core/random.hpp>
#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_dual {
namespace {

using D = Dual<double>;

/// The derivative of f at x by dual numbers, against its closed form. Compilers may fuse operations of either
/// differently: four roundings of terms up to 1 + the result.
template <class F>
void check_slope(F f, double x, double closed_form) {
    const D y = f(D::variable(x));
    CHECK(std::abs(y.value - f(x)) <= 0x1p-51 * (1 + std::abs(f(x))));
    CHECK(std::abs(y.derivative() - closed_form) <= 0x1p-51 * (1 + std::abs(closed_form)));
}

}  // namespace

TEST_CASE("elementary functions have the derivatives of the textbook") {
    Random random(1);
    for (int i = 0; i < 100; ++i) {
        const double x = random_number(random, 3.0), positive = std::abs(x) + 0.01, t = std::tanh(x);
        CAPTURE(x);
        check_slope([](auto s) { return exp(s); }, x, std::exp(x));
        check_slope([](auto s) { return log(s); }, positive, 1 / positive);
        check_slope([](auto s) { return sqrt(s); }, positive, 0.5 / std::sqrt(positive));
        check_slope([](auto s) { return tanh(s); }, x, 1 - t * t);
        check_slope([](auto s) { return sin(s); }, x, std::cos(x));
        check_slope([](auto s) { return cos(s); }, x, -std::sin(x));
        check_slope([](auto s) { return abs(s); }, x, x > 0 ? 1 : -1);
        check_slope([](auto s) { return -s; }, x, -1);
        check_slope([](auto s) { return s * s * s; }, x, 3 * x * x);
        check_slope([](auto s) { return 2 / s; }, positive, -2 / (positive * positive));
        check_slope([](auto s) { return (3 - s) * 2.5 + s / 4; }, x, -2.25);
    }
    CHECK(pow(D::variable(2.0), 3).derivative() == 12.0);
    CHECK(pow(D::variable(4.0), 0.5).derivative() == 0.25);
}

TEST_CASE("compositions agree with central differences") {
    const auto formula = [](auto s) {
        return 30 * tanh(s / 30) - 0.1 * exp(-s * s) / (1 + sqrt(abs(s) + 1)) + sin(s) * s;
    };
    Random random(2);
    for (int i = 0; i < 100; ++i) {
        const double x = random_number(random, 4.0), step = 1e-4;
        const double difference =
            (8 * (formula(x + step) - formula(x - step)) - (formula(x + 2 * step) - formula(x - 2 * step))) /
            (12 * step);
        CAPTURE(x);
        CHECK(std::abs(formula(D::variable(x)).derivative() - difference) <= 1e-10);
    }
}

TEST_CASE("each direction has its own derivative") {
    using D2 = Dual<double, 2>;
    const D2 x = D2::variable(3.0, 0), y = D2::variable(-2.0, 1);
    const D2 f = x * x * y + y / x;
    CHECK(f.value == -18.0 - 2.0 / 3.0);
    CHECK(f.partial[0] == Approx(2 * 3.0 * -2.0 + 2.0 / 9.0).epsilon(1e-15));
    CHECK(f.partial[1] == Approx(9.0 + 1.0 / 3.0).epsilon(1e-15));
}

TEST_CASE("constants have derivative 0, and numbers beside a dual number are constants") {
    CHECK(D(2.5).derivative() == 0.0);
    CHECK((D::variable(1.0) + 2).derivative() == 1.0);
    CHECK((2.f * D::variable(1.0)).derivative() == 2.0);
    static_assert(std::is_convertible_v<double, D> && !std::is_convertible_v<int, D> && std::is_constructible_v<D, int>,
                  "as for a scalar, an integer takes a cast");
    constexpr D folded = D::variable(3.0) * D::variable(3.0);
    static_assert(folded.value == 9.0 && folded.derivative() == 6.0);
}

TEST_CASE("branches compare values and carry the derivative of what they choose") {
    const D x = D::variable(1.0), y = 3 * D::variable(2.0);
    CHECK((x < y && y > 1 && x == 1.0 && x != y && x <= 1));
    CHECK(max(x, y).derivative() == 3.0);
    CHECK(min(x, y).derivative() == 1.0);
    CHECK(max(x, 5.0).derivative() == 0.0);
    CHECK(select(x < y, y, x).derivative() == 3.0);
    CHECK(abs(D::variable(0.0)).derivative() == 0.0);
}

}  // namespace test_dual

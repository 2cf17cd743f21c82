#include <attend/modifier/soft_cap.hpp>

#include <limits>

#include <attend/core/dual.hpp>
#include <support/catch.hpp>

using namespace attend;

namespace test_soft_cap {

TEST_CASE("a soft cap is cap · tanh(s / cap), with slope 1 − tanh²") {
    const SoftCap cap = soft_cap(2.0);
    for (const double s : {-7.0, -1.0, -0.1, 0.0, 0.3, 2.0, 5.0}) {
        const double t = std::tanh(s / 2.0);
        CHECK(cap(s, Position{}) == Approx(2.0 * t).epsilon(1e-15));
        CHECK(cap(Dual<double>::variable(s), Position{}).derivative() == Approx(1.0 - t * t).epsilon(1e-14));
    }
}

TEST_CASE("a soft cap holds any score within ±cap and leaves small ones as they are") {
    const SoftCap cap = soft_cap(30.0);
    constexpr double infinity = std::numeric_limits<double>::infinity();
    CHECK(cap(infinity, Position{}) == 30.0);
    CHECK(cap(-infinity, Position{}) == -30.0);
    CHECK(cap(1e300, Position{}) == 30.0);
    CHECK(cap(1e-6, Position{}) == Approx(1e-6).epsilon(1e-12));
    CHECK(cap(-4.0, Position{}) == -cap(4.0, Position{}));
    double before = -31.0;
    for (double s = -100.0; s <= 100.0; s += 0.5) {
        CHECK(cap(s, Position{}) > before);
        before = cap(s, Position{});
    }
}

TEST_CASE("an infinite score moves the cap's gradient by its sign") {
    SoftCap gradient{0};
    const double infinity = std::numeric_limits<double>::infinity();
    soft_cap(3.0).backward(infinity, Position{}, 2.0, gradient);
    soft_cap(3.0).backward(-infinity, Position{}, 0.5, gradient);
    CHECK(gradient.cap == 1.5);
}

}  // namespace test_soft_cap

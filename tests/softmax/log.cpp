// The logarithm against long double, over the normal numbers of float and double, and densely around 1.

#include <cmath>
#include <limits>

#include <attend/softmax/log.hpp>
#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;
namespace simd = attend::detail::simd;

namespace test_log {
namespace {

template <class T>
T log_of(T x) {
    return -simd::first<T>(attend::detail::minus_log<T>(simd::broadcast(x)));
}
template <class T>
double error_in_ulp(T x) {
    const long double exact = std::log(static_cast<long double>(x));
    int exponent = 0;
    std::frexp(exact, &exponent);
    const int last_place = exponent - std::numeric_limits<T>::digits;
    return static_cast<double>(std::ldexp(std::abs(static_cast<long double>(log_of(x)) - exact), -last_place));
}

}  // namespace

TEMPLATE_TEST_CASE("the logarithm is at most 4 ulp off", "", float, double) {
    using Limits = std::numeric_limits<TestType>;
    Random random(1);
    double worst = 0;
    for (int i = 0; i < 200000; ++i) {
        const double exponent = random_number(random, 1.0) * (Limits::max_exponent - 2);
        worst = std::max(worst, error_in_ulp(static_cast<TestType>(std::exp2(exponent))));
        worst = std::max(worst, error_in_ulp(static_cast<TestType>(1 + 0.5 * random_number(random))));
        worst = std::max(worst, error_in_ulp(static_cast<TestType>(1 + 1e-4 * random_number(random))));
    }
    for (TestType x = TestType(1), i = 0; i < 40; ++i) {
        x = std::nextafter(x, TestType(0));
        worst = std::max({worst, error_in_ulp(x), error_in_ulp(1 + (1 - x) * 2)});
    }
    CHECK(worst <= 4);
    CHECK(log_of(TestType(1)) == 0);
    CHECK(error_in_ulp(Limits::min()) <= 1);
    CHECK(error_in_ulp(Limits::max()) <= 1);
    for (const double root : {0.70710678, 1.41421356}) CHECK(error_in_ulp(static_cast<TestType>(root)) <= 4);
}

}  // namespace test_log

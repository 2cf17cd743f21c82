// The hot loop's e^x: as exact as a weight has to be, exactly 0 below the normal numbers.

#include <attend/softmax/exp.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include <support/catch.hpp>

namespace simd = attend::detail::simd;

namespace test_exp_of_nonpositive {
namespace {

template <class T>
T exp_of(T x) {
    return simd::first<T>(attend::detail::exp_of_nonpositive<T>(simd::broadcast(x)));
}

template <class T>
T row_exp(T x) {
    simd::Packet<T> packet[] = {simd::broadcast(x)};
    attend::detail::exp_below<T>(packet);
    return simd::first<T>(packet[0]);
}

/// The worst relative error over [from, 0], in units of the roundoff that |x| itself brings, (1 + |x|) ε.
template <class T>
double worst_error(double from, int steps) {
    double worst = 0;
    for (int i = 0; i < steps; ++i) {
        const T x = static_cast<T>(from * static_cast<double>(i) / static_cast<double>(steps));
        const long double exact = std::exp(static_cast<long double>(x));
        const auto error = static_cast<double>(std::abs(static_cast<long double>(exp_of(x)) - exact) / exact);
        worst = std::max(
            worst, error / ((1 - static_cast<double>(x)) * static_cast<double>(std::numeric_limits<T>::epsilon())));
    }
    return worst;
}

}  // namespace

TEST_CASE("e^x is exact to the roundoff of x where the result is a normal number") {
    const double in_float = worst_error<float>(-87.2, 2000003), in_double = worst_error<double>(-708.2, 500009);
    std::printf("e^x of the hot loop: worst relative error %.3f (1 + |x|) epsilon in float, %.3f in double\n", in_float,
                in_double);
    CHECK(in_float <= 1);
    CHECK(in_double <= 1);
}

TEMPLATE_TEST_CASE("the exponentials of rows are at most 2 ulp off, also where they are no normal numbers", "", float,
                   double) {
    using T = TestType;
    using C = attend::detail::ExpConstants<T>;
    using Limits = std::numeric_limits<T>;
    double worst = 0;
    const auto add = [&](T x, T got) {
        const long double exact = std::exp(static_cast<long double>(x));
        const int last_place = std::max(std::ilogb(exact), Limits::min_exponent - 1) - (Limits::digits - 1);
        const long double error = std::abs(static_cast<long double>(got) - exact);
        worst = std::max(worst, static_cast<double>(std::ldexp(error, -last_place)));
    };
    constexpr int steps = 700001;
    for (int i = 0; i <= steps; ++i) {
        const T x = C::lowest * static_cast<T>(i) / static_cast<T>(steps);
        add(x, row_exp(x));
        if (x <= C::least_normal) continue;
        simd::Packet<T> packets[2] = {simd::broadcast(x), simd::broadcast(T(x / 2))};
        attend::detail::exp_to_normal<T>(packets);
        add(x, simd::first<T>(packets[0]));
        add(x / 2, simd::first<T>(packets[1]));
    }
    std::printf("e^x of rows: worst error %.4f ulp in %s\n", worst, sizeof(T) == 4 ? "float" : "double");
    CHECK(worst <= 2);
    for (const T x : {C::lowest * 2, T(-1e30), Limits::lowest(), -Limits::infinity()}) CHECK(row_exp(x) == 0);
    CHECK(std::isnan(row_exp(Limits::quiet_NaN())));
}

TEST_CASE("e^x is exactly 0 below the normal numbers, 1 at 0, and NaN of NaN") {
    for (const float x : {-87.4f, -150.f, -1e30f, -std::numeric_limits<float>::infinity()}) CHECK(exp_of(x) == 0);
    for (const double x : {-708.5, -1100.0, -1e300, -std::numeric_limits<double>::infinity()}) CHECK(exp_of(x) == 0);
    CHECK(exp_of(0.f) == 1);
    CHECK(exp_of(0.0) == 1);
    CHECK(std::isnan(exp_of(std::numeric_limits<float>::quiet_NaN())));
    CHECK(std::isnan(exp_of(std::numeric_limits<double>::quiet_NaN())));
}

}  // namespace test_exp_of_nonpositive

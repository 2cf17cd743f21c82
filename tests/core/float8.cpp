// Numbers of 8 bits are those of their definition, and every float becomes the nearest of them.

#include <attend/core/float8.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;

namespace test_float8 {
namespace {

/// What a code stands for, from the tables of OFP8, revision 1.0.
template <class S>
double meaning(int code) {
    constexpr bool e4m3 = std::is_same_v<S, Float8E4M3>;
    constexpr int digits = e4m3 ? 3 : 2, bias = e4m3 ? 7 : 15;
    const int exponent = (code & 0x7f) >> digits, mantissa = code & ((1 << digits) - 1);
    const double sign = code & 0x80 ? -1 : 1, fraction = mantissa / std::pow(2.0, digits);
    if (e4m3 && (code & 0x7f) == 0x7f) return std::nan("");
    if (!e4m3 && exponent == 31) return mantissa == 0 ? sign / 0.0 : std::nan("");
    if (exponent == 0) return sign * std::pow(2.0, 1 - bias) * fraction;
    return sign * std::pow(2.0, exponent - bias) * (1 + fraction);
}
template <class S>
S of_code(int code) {
    S x;
    x.bits = static_cast<std::uint8_t>(code);
    return x;
}

}  // namespace

TEMPLATE_TEST_CASE("every code of 8 bits is the number of its definition, and becomes itself", "", Float8E4M3,
                   Float8E5M2) {
    for (int code = 0; code < 256; ++code) {
        CAPTURE(code);
        const double x = meaning<TestType>(code), y = double{float(of_code<TestType>(code))};
        CHECK(((std::isnan(x) && std::isnan(y)) || x == y));
        CHECK(std::signbit(y) == (code >= 128));
        const int again = TestType(float(of_code<TestType>(code))).bits;
        CHECK((again == code || (std::isnan(x) && std::isnan(meaning<TestType>(again)))));
    }
    CHECK(double{TestType::largest} == (std::is_same_v<TestType, Float8E4M3> ? 448 : 57344));
}

TEMPLATE_TEST_CASE("every float becomes the nearest number of 8 bits, of two as near the even one", "", Float8E4M3,
                   Float8E5M2) {
    std::vector<int> codes;  // of finite numbers, which rise with them
    for (int code = 0; code < 128 && std::isfinite(meaning<TestType>(code)); ++code) codes.push_back(code);
    // By its definition: of all numbers, and the one behind the last, which stands for what is too large.
    const double beyond = 2 * meaning<TestType>(codes.back()) - meaning<TestType>(codes.back() - 1);
    const auto nearest = [&](double x) {
        if (x >= beyond) return codes.back() + 1;
        int best = 0;
        double least = std::abs(x);
        for (int code = 1; code <= codes.back() + 1; ++code) {
            const double distance = std::abs((code > codes.back() ? beyond : meaning<TestType>(code)) - x);
            if (distance < least || (distance == least && code % 2 == 0)) best = code, least = distance;
        }
        return best;
    };
    const auto check = [&](float x) {
        CAPTURE(x);
        const int code = nearest(double{x});
        const double y = double{float(TestType(x))}, minus = double{float(TestType(-x))};
        if (code > codes.back()) {
            CHECK((std::is_same_v<TestType, Float8E4M3> ? std::isnan(y) && std::isnan(minus)
                                                        : y == 1 / 0.0 && minus == -1 / 0.0));
        } else {
            CHECK(int{TestType(x).bits} == code);
            CHECK(int{TestType(-x).bits} == code + 128);
        }
    };
    for (std::size_t i = 0; i < codes.size(); ++i) {
        const double low = meaning<TestType>(codes[i]),
                     high = i + 1 < codes.size() ? meaning<TestType>(codes[i + 1]) : beyond;
        const auto middle = static_cast<float>((low + high) / 2);
        for (const float x : {static_cast<float>(low), middle, static_cast<float>(high)})
            check(x), check(std::nextafter(x, 0.F)), check(std::nextafter(x, 1e38F));
    }
    Random random(1);
    for (int i = 0; i < 20000; ++i) check(std::exp2(static_cast<float>(test::random_number(random, 24))));
    for (const float x : {1e-44F, 1e-38F, 1e-10F, 3e38F, std::numeric_limits<float>::denorm_min()}) check(x);
}

TEMPLATE_TEST_CASE("infinity and NaN stay what is not finite", "", Float8E4M3, Float8E5M2) {
    const float infinity = std::numeric_limits<float>::infinity();
    const bool has_infinity = std::is_same_v<TestType, Float8E5M2>;
    for (const float x : {infinity, -infinity}) {
        const float y = TestType(x);
        CHECK((has_infinity ? y == x : std::isnan(y)));
    }
    for (const float sign : {1.F, -1.F}) CHECK(std::isnan(float(TestType(std::copysign(std::nanf(""), sign)))));
    static_assert(float(TestType(0.375F)) == 0.375F && TestType().bits == 0);
}

}  // namespace test_float8

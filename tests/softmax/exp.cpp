// The exponential against long double, over the whole range of float and double.

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include <attend/softmax/exp.hpp>
#include <support/catch.hpp>

using namespace attend;
namespace simd = attend::detail::simd;

namespace test_exp {
namespace {

template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

template <class T>
T exp_of(T x) {
    return simd::first<T>(attend::detail::exp_packet<T>(simd::broadcast(x)));
}

/// |got − e^x| in units of the last place that T has at e^x, denormals included. Overflow counts as the power of two
/// behind the largest number: +∞ is right where e^x lies there or beyond, and half a unit off where rounding to nearest
/// gives it.
template <class T>
double error_in_ulp(T x, T got) {
    using Limits = std::numeric_limits<T>;
    const long double overflow = std::ldexp(1.0L, Limits::max_exponent);
    const long double exact = std::min(std::exp(static_cast<long double>(x)), overflow);
    const long double result = std::isinf(got) && got > 0 ? overflow : static_cast<long double>(got);
    int exponent = 0;
    std::frexp(exact, &exponent);
    const int last_place = std::max(exponent, Limits::min_exponent) - Limits::digits;
    return static_cast<double>(std::ldexp(std::abs(result - exact), -last_place));
}

/// The worst error seen, for results that are normal numbers and for those that are not.
template <class T>
struct Worst {
    double normal = 0, denormal = 0;
    T normal_at = 0, denormal_at = 0;
    Index points = 0;

    void add(T x) {
        const T got = exp_of(x);
        const double error = error_in_ulp(x, got);
        const bool is_normal = got >= std::numeric_limits<T>::min();
        double& worst = is_normal ? normal : denormal;
        if (!(error <= worst)) {
            worst = error;
            (is_normal ? normal_at : denormal_at) = x;
        }
        ++points;
    }
    void print(const char* type) const {
        std::printf("exp of %s, %td points: worst %.4f ulp at %a; of denormal results %.4f ulp at %a\n", type, points,
                    normal, static_cast<double>(normal_at), denormal, static_cast<double>(denormal_at));
    }
};

/// Every exponent and sign, mantissas `stride` bit patterns apart, then `grid` even steps from first to last.
template <class T>
Worst<T> sweep(Bits<T> stride, T first, T last, int grid) {
    Worst<T> worst;
    const Bits<T> infinity = std::bit_cast<Bits<T>>(std::numeric_limits<T>::infinity());
    for (const bool negative : {false, true}) {
        for (Bits<T> bits = 0; bits <= infinity; bits += stride) {
            const T x = std::bit_cast<T>(bits);
            worst.add(negative ? -x : x);
        }
    }
    for (int i = 0; i <= grid; ++i) worst.add(first + (last - first) * static_cast<T>(i) / static_cast<T>(grid));
    return worst;
}

}  // namespace

TEST_CASE("exp of float is at most 2 ulp off") {
    const auto worst = sweep<float>(1009, -104.5F, 89.5F, 2'000'000);
    worst.print("float");
    CHECK(worst.normal <= 2);
    CHECK(worst.denormal <= 2);
}

TEST_CASE("exp of double is at most 2 ulp off") {
    const auto worst = sweep<double>(0x7ff0'0000'0000'0000 / 2'000'003, -746.5, 710.5, 2'000'000);
    worst.print("double");
    CHECK(worst.normal <= 2);
    CHECK(worst.denormal <= 2);
}

TEMPLATE_TEST_CASE("exp is right where it leaves the numbers", "", float, double) {
    using Limits = std::numeric_limits<TestType>;
    CHECK(std::bit_cast<Bits<TestType>>(exp_of(-Limits::infinity())) == 0);  // +0, not merely something tiny
    CHECK(exp_of(Limits::lowest()) == 0);
    CHECK(exp_of(Limits::infinity()) == Limits::infinity());
    CHECK(exp_of(Limits::max()) == Limits::infinity());
    CHECK(std::isnan(exp_of(Limits::quiet_NaN())));
    CHECK(std::isnan(exp_of(-Limits::quiet_NaN())));
    CHECK(exp_of(TestType(0)) == 1);
    CHECK(exp_of(TestType(-0.0)) == 1);
    CHECK(exp_of(Limits::denorm_min()) == 1);
}

TEMPLATE_TEST_CASE("a lane's exp depends on its own value alone", "", float, double) {
    using attend::detail::exp_packet;
    constexpr auto width = static_cast<std::size_t>(simd::width<TestType>);
    const std::array<TestType, 7> neighbours{0,
                                             1,
                                             -1000,
                                             1000,
                                             std::numeric_limits<TestType>::quiet_NaN(),
                                             std::numeric_limits<TestType>::infinity(),
                                             TestType(0.1)};
    for (TestType x = -110; x < 90; x += TestType(0.37)) {
        const auto bits = std::bit_cast<Bits<TestType>>(exp_of(x));
        for (std::size_t place = 0; place < width; ++place) {
            std::array<TestType, width> lanes;
            for (std::size_t i = 0; i < width; ++i) lanes[i] = neighbours[(i + place) % neighbours.size()];
            lanes[place] = x;
            simd::store(lanes.data(), exp_packet<TestType>(simd::load(lanes.data())));
            REQUIRE(std::bit_cast<Bits<TestType>>(lanes[place]) == bits);
        }
        REQUIRE(std::bit_cast<Bits<TestType>>(attend::detail::exp_difference(x, TestType(0))) == bits);
    }
}

TEST_CASE("other scalar types use their own exp") {
    for (const long double x : {-11000.0L, -1.5L, 0.0L, 0.25L, 11000.0L}) CHECK(exp_of(x) == std::exp(x));
}

TEMPLATE_TEST_CASE("the exponential of a difference takes equal infinities for equal scores", "", float, double,
                   long double) {
    using attend::detail::exp_difference;
    const TestType infinity = std::numeric_limits<TestType>::infinity(),
                   nan = std::numeric_limits<TestType>::quiet_NaN();
    CHECK(exp_difference(infinity, infinity) == 1);
    CHECK(exp_difference(-infinity, -infinity) == 1);
    CHECK(exp_difference(TestType(1e30), TestType(1e30)) == 1);
    CHECK(exp_difference(TestType(3), infinity) == 0);
    CHECK(exp_difference(-infinity, TestType(3)) == 0);
    CHECK(std::isnan(exp_difference(nan, infinity)));
    CHECK(std::isnan(exp_difference(TestType(0), nan)));
}

}  // namespace test_exp

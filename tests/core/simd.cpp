// Packets: what the kernels rely on, on whatever processor this is compiled for.

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <attend/core/simd.hpp>
#include <support/catch.hpp>

using namespace attend;
namespace simd = attend::detail::simd;

namespace test_simd {
namespace {

template <class T>
using Lanes = std::array<T, static_cast<std::size_t>(simd::width<T>)>;

template <class T>
Lanes<T> lanes(const simd::Packet<T>& x) {
    Lanes<T> values;
    simd::store(values.data(), x);
    return values;
}

/// start, start + 1, …
template <class T>
simd::Packet<T> count_from(T start) {
    Lanes<T> values;
    for (T& value : values) value = start++;
    return simd::load(values.data());
}

template <class T>
Lanes<T> all(T x) {
    return lanes<T>(simd::broadcast(x));
}

}  // namespace

TEMPLATE_TEST_CASE("a partial load takes the first scalars and fills the other lanes", "", float, double, long double) {
    constexpr Index width = simd::width<TestType>;
    std::array<TestType, 2 * width + 1> memory;
    for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<TestType>(i);
    for (Index start = 0; start <= width; ++start) {
        for (Index count = 1; count <= width; ++count) {
            const auto got = lanes<TestType>(simd::load(memory.data() + start, count, TestType(-7)));
            for (Index i = 0; i < width; ++i) {
                CHECK(got[static_cast<std::size_t>(i)] ==
                      (i < count ? static_cast<TestType>(start + i) : TestType(-7)));
            }
        }
    }
}

TEMPLATE_TEST_CASE("a partial store leaves what stands behind it alone", "", float, double, long double) {
    constexpr Index width = simd::width<TestType>;
    for (Index count = 1; count <= width; ++count) {
        std::array<TestType, width + 1> memory;
        memory.fill(TestType(-7));
        simd::store(memory.data(), count_from(TestType(1)), count);
        for (Index i = 0; i <= width; ++i) {
            CHECK(memory[static_cast<std::size_t>(i)] == (i < count ? static_cast<TestType>(i + 1) : TestType(-7)));
        }
    }
}

TEMPLATE_TEST_CASE("min and max keep a NaN of the first operand", "", float, double) {
    using Limits = std::numeric_limits<TestType>;
    const auto nan = simd::broadcast(Limits::quiet_NaN());
    for (const TestType other : {TestType(0), TestType(1), Limits::infinity(), -Limits::infinity()}) {
        for (const TestType lane : lanes<TestType>(simd::min(nan, simd::broadcast(other)))) CHECK(std::isnan(lane));
        for (const TestType lane : lanes<TestType>(simd::max(nan, simd::broadcast(other)))) CHECK(std::isnan(lane));
    }
    CHECK(lanes<TestType>(simd::min(simd::broadcast(TestType(1)), simd::broadcast(TestType(2)))) == all(TestType(1)));
    CHECK(lanes<TestType>(simd::max(simd::broadcast(TestType(1)), simd::broadcast(TestType(2)))) == all(TestType(2)));
}

TEMPLATE_TEST_CASE("select_equal chooses lane by lane, and NaN equals nothing", "", float, double) {
    const TestType nan = std::numeric_limits<TestType>::quiet_NaN();
    const auto counted = count_from(TestType(0)), then = simd::broadcast(TestType(1)),
               otherwise = simd::broadcast(TestType(2));
    for (Index chosen = 0; chosen < simd::width<TestType>; ++chosen) {
        const auto c = simd::broadcast(static_cast<TestType>(chosen));
        const auto got = lanes<TestType>(simd::select_equal(counted, c, then, otherwise));
        for (Index i = 0; i < simd::width<TestType>; ++i) {
            CHECK(got[static_cast<std::size_t>(i)] == (i == chosen ? TestType(1) : TestType(2)));
        }
    }
    CHECK(lanes<TestType>(simd::select_equal(simd::broadcast(TestType(-0.0)), simd::broadcast(TestType(0)), then,
                                             otherwise)) == all(TestType(1)));
    CHECK(lanes<TestType>(simd::select_equal(simd::broadcast(nan), simd::broadcast(nan), then, otherwise)) ==
          all(TestType(2)));
}

TEMPLATE_TEST_CASE("tanh ends at exactly 1, so that slopes end at 0", "", float, double) {
    const TestType infinity = std::numeric_limits<TestType>::infinity();
    for (const TestType x : {infinity, TestType(1e30), TestType(25)}) {
        for (const TestType end : lanes<TestType>(simd::tanh<TestType>(simd::broadcast(x)))) CHECK(end == 1);
        for (const TestType end : lanes<TestType>(simd::tanh<TestType>(simd::broadcast(-x)))) CHECK(end == -1);
    }
    const auto nan = simd::broadcast(std::numeric_limits<TestType>::quiet_NaN());
    for (const TestType y : lanes<TestType>(simd::tanh<TestType>(nan))) CHECK(std::isnan(y));
}

TEST_CASE("shift_left shifts the bits of every lane and nothing across lanes") {
    // All bits set below the shift: whatever leaks into the next lane would show.
    const auto shifted = lanes<float>(simd::shift_left<23>(simd::broadcast(std::bit_cast<float>(0xfff0007fU))));
    for (const float lane : shifted) CHECK(std::bit_cast<std::uint32_t>(lane) == 0x3f800000U);  // 1.0
    const auto wide =
        lanes<double>(simd::shift_left<52>(simd::broadcast(std::bit_cast<double>(0xfff00000000003ffULL))));
    for (const double lane : wide) CHECK(std::bit_cast<std::uint64_t>(lane) == 0x3ff0000000000000ULL);
}

TEMPLATE_TEST_CASE("sum and largest run over all lanes", "", float, double, long double) {
    const auto n = static_cast<TestType>(simd::width<TestType>);
    CHECK(simd::first<TestType>(count_from(TestType(1))) == TestType(1));
    CHECK(simd::sum<TestType>(count_from(TestType(1))) == n * (n + 1) / 2);
    CHECK(simd::largest<TestType>(count_from(TestType(1))) == n);
    CHECK(simd::largest<TestType>(simd::sub(simd::broadcast(TestType(0)), count_from(TestType(1)))) == TestType(-1));
}

TEMPLATE_TEST_CASE("roots are rounded correctly", "", float, double) {
    using Limits = std::numeric_limits<TestType>;
    const auto check = [](TestType x) {
        const TestType root = lanes<TestType>(simd::sqrt(simd::broadcast(x)))[0];
        CHECK(root == std::sqrt(x));
        CHECK(std::signbit(root) == std::signbit(x));
    };
    for (const TestType x :
         {Limits::infinity(), TestType(0), -TestType(0), Limits::min(), Limits::denorm_min(), Limits::max()})
        check(x);
    for (int i = 1; i < 2000; ++i) check(TestType(1) + TestType(i) / 777);
}

}  // namespace test_simd

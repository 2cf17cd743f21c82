// Packets: what the kernels rely on, on whatever processor this is compiled for.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

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

TEST_CASE("add_bits adds the bits of every lane and carries nothing across lanes") {
    const auto narrow = lanes<float>(simd::add_bits(simd::broadcast(std::bit_cast<float>(0xff80007fU)),
                                                    simd::broadcast(std::bit_cast<float>(0x40000001U))));
    for (const float lane : narrow) CHECK(std::bit_cast<std::uint32_t>(lane) == 0x3f800080U);
    const auto wide = lanes<double>(simd::add_bits(simd::broadcast(std::bit_cast<double>(0xfff00000000003ffULL)),
                                                   simd::broadcast(std::bit_cast<double>(0x4000000000000001ULL))));
    for (const double lane : wide) CHECK(std::bit_cast<std::uint64_t>(lane) == 0x3ff0000000000400ULL);
}

#if defined(EIGEN_VECTORIZE_AVX512) && !defined(ATTEND_GNU_PACKETS)
TEMPLATE_TEST_CASE("look_up asks the lowest bits of a lane alone", "", float, double) {
    using T = TestType;
    constexpr Index width = simd::width<T>;
    REQUIRE(simd::has_tables<T>);
    const auto entries = count_from(T(100));
    for (Index n = 0; n < 3 * width; ++n) {
        // A number far above its last bit has n in its lowest bits.
        const T number = std::ldexp(T(1), std::numeric_limits<T>::digits - 1) + static_cast<T>(n);
        CHECK(lanes<T>(simd::look_up(entries, simd::broadcast(number))) == all(T(100) + static_cast<T>(n % width)));
    }
    const auto reversed = simd::sub(
        simd::broadcast(std::ldexp(T(1), std::numeric_limits<T>::digits - 1) + T(width - 1)), count_from(T(0)));
    for (Index i = 0; i < width; ++i)
        CHECK(lanes<T>(simd::look_up(entries, reversed))[static_cast<std::size_t>(i)] == T(100 + width - 1 - i));
}

TEMPLATE_TEST_CASE("scale multiplies by a power of two, rounded down to it, and rounds what is denormal", "", float,
                   double) {
    using T = TestType;
    using Limits = std::numeric_limits<T>;
    const auto scaled = [](T x, T n) { return lanes<T>(simd::scale(simd::broadcast(x), simd::broadcast(n))); };
    CHECK(scaled(T(1.5), T(3)) == all(T(12)));
    CHECK(scaled(T(1.5), T(3.9375)) == all(T(12)));
    CHECK(scaled(T(1.5), T(-0.0625)) == all(T(0.75)));
    CHECK(scaled(T(1.5), T(Limits::max_exponent)) == all(Limits::infinity()));
    CHECK(scaled(T(1.5), T(Limits::min_exponent - Limits::digits)) == all(2 * Limits::denorm_min()));  // half: to even
    CHECK(scaled(T(1.5), T(Limits::min_exponent - Limits::digits - 1)) == all(Limits::denorm_min()));
    CHECK(scaled(T(1.5), T(Limits::min_exponent - Limits::digits - 2)) == all(T(0)));
}
#endif

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

// The order of additions is part of what these promise: bits must not depend on who adds.

namespace {

/// Numbers whose sums round.
template <class T>
std::vector<Lanes<T>> rows_of_numbers(Index count) {
    std::vector<Lanes<T>> rows(static_cast<std::size_t>(count));
    T x = T(1);
    for (auto& row : rows) {
        for (T& lane : row) lane = std::sin(x) * std::exp(std::cos(x)), x += T(1.7);
    }
    return rows;
}
/// f of what stands `apart`, which doubles or halves.
template <class T, class F>
Lanes<T> over_groups(Lanes<T> x, std::size_t group, bool neighbours_first, F f) {
    for (std::size_t level = 1; level < group; level *= 2) {
        const std::size_t apart = neighbours_first ? level : group / 2 / level;
        const Lanes<T> before = x;
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = f(before[i], before[i ^ apart]);
    }
    return x;
}

}  // namespace

TEMPLATE_TEST_CASE("lanes of groups are added in one order, whoever adds", "", float, double, long double) {
    using T = TestType;
    constexpr Index width = simd::width<T>;
    const auto plus = [](T a, T b) { return a + b; };
    const Lanes<T> x = rows_of_numbers<T>(1)[0];
    const auto packet = simd::load(x.data());
    for (Index group = 1; group <= width; group *= 2) {
        const auto size = static_cast<std::size_t>(group);
        CHECK(lanes<T>(simd::sums_of_groups<T>(packet, group)) == over_groups<T>(x, size, false, plus));
        CHECK(lanes<T>(simd::sums_of_neighbours<T>(packet, group)) == over_groups<T>(x, size, true, plus));
        CHECK(lanes<T>(simd::largest_of_groups<T>(packet, group)) ==
              over_groups<T>(x, size, false, [](T a, T b) { return std::max(a, b); }));
    }
    CHECK(simd::sum_by_halves<T>(packet) == over_groups<T>(x, x.size(), false, plus)[0]);

    const auto rows = rows_of_numbers<T>(width);
    simd::Packet<T> packets[width];
    for (Index i = 0; i < width; ++i) packets[i] = simd::load(rows[static_cast<std::size_t>(i)].data());
    const auto sums = lanes<T>(simd::sums_of_rows<T>(packets));
    for (std::size_t i = 0; i < sums.size(); ++i) CHECK(sums[i] == over_groups<T>(rows[i], sums.size(), true, plus)[0]);
}

TEMPLATE_TEST_CASE("a square of packets is transposed", "", float, double, long double) {
    constexpr Index width = simd::width<TestType>;
    simd::Packet<TestType> rows[width];
    for (Index i = 0; i < width; ++i) rows[i] = count_from(static_cast<TestType>(i * width));
    simd::transpose<TestType>(rows);
    for (Index i = 0; i < width; ++i) {
        const auto row = lanes<TestType>(rows[i]);
        for (Index j = 0; j < width; ++j)
            CHECK(row[static_cast<std::size_t>(j)] == static_cast<TestType>(j * width + i));
    }
}

TEMPLATE_TEST_CASE("bits become lanes", "", float, double) {
    constexpr Index width = simd::width<TestType>;
    const auto yes = simd::broadcast(TestType(1)), no = simd::broadcast(TestType(0));
    for (std::uint64_t bits = 0; bits < 1U << std::min<Index>(width, 8); ++bits) {
        const auto mask = simd::mask_of_bits<TestType>(bits << (width > 8 ? 8 : 0) | bits);
        const auto holds = lanes<TestType>(simd::select(mask, yes, no));
        for (Index i = 0; i < width; ++i)
            CHECK(holds[static_cast<std::size_t>(i)] == static_cast<TestType>(bits >> i % 8 & 1));
        CHECK(simd::any<TestType>(mask) == (bits != 0));
    }
}

TEMPLATE_TEST_CASE("a number is a power of two times one about 1", "", float, double) {
    for (const TestType x : {TestType(1), TestType(0.7071), TestType(0.70711), TestType(3), TestType(1e30),
                             TestType(1e-30), std::numeric_limits<TestType>::min()}) {
        const auto parts = simd::exponent_and_mantissa<TestType>(simd::broadcast(x));
        const TestType n = lanes<TestType>(parts.n)[0], m = lanes<TestType>(parts.m)[0];
        CHECK(std::ldexp(m, static_cast<int>(n)) == x);
        CHECK(m * m >= TestType(0.499999));
        CHECK(m * m < TestType(2.000001));
    }
}

TEMPLATE_TEST_CASE("words of 64 bits are compared without signs", "", float, double) {
    simd::Words<TestType> words{};
    const std::uint64_t bound = std::uint64_t{1} << 31;
    for (Index i = 0; i < simd::width<TestType>; ++i)
        words[i] = i % 3 == 0 ? bound - 1 : i % 3 == 1 ? bound : ~std::uint64_t{0};
    const auto minus_ones = lanes<TestType>(simd::minus_one_from<TestType>(words, bound));
    for (std::size_t i = 0; i < minus_ones.size(); ++i) CHECK(minus_ones[i] == (i % 3 == 0 ? 0 : -1));
}

}  // namespace test_simd

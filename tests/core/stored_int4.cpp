// Numbers of 4 bits are the nearest multiples of their group's factor, and are read as they stand in it.

#include <attend/core/stored.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;

namespace test_stored_int4 {
namespace {

Int4 group_of(const std::vector<float>& x) {
    Int4 group;
    group.put([&](Index i) { return x[static_cast<std::size_t>(i)]; }, static_cast<Index>(x.size()));
    return group;
}

}  // namespace

TEST_CASE("a group of 4 bits is off by as much of its largest number as it says") {
    Random random(1);
    for (int draw = 0; draw < 2000; ++draw) {
        const Index count = 1 + draw % 32;
        std::vector<float> x(static_cast<std::size_t>(count));
        const double size = std::exp2(test::random_number(random, 100));
        float most = 0;
        for (float& number : x) {
            number = static_cast<float>(test::random_number(random, size));
            if (std::abs(number) > std::abs(most)) most = number;
        }
        const Int4 group = group_of(x);
        for (Index i = 0; i < 32; ++i) {
            const float y = group(i);
            CHECK(static_cast<float>(static_cast<Eigen::bfloat16>(y)) == y);  // exactly one
            if (i >= count) {
                CHECK(y == 0);
                continue;
            }
            const float number = x[static_cast<std::size_t>(i)];
            const bool near_negative = number / most < -0.84F;
            CHECK(double{std::abs(y - number)} <= double{std::abs(most)} / (near_negative ? 6 : 15));
            // The nearest of all that a group with this factor holds.
            for (int n = -8; n < 8; ++n)
                CHECK(std::abs(y - number) <=
                      std::abs(static_cast<float>(n) * static_cast<float>(group.factor) - number) * 1.000001F);
        }
    }
    for (const float x : {1e-44F, 1e-38F, 3.4e38F, -3.4e38F}) {
        const std::vector<float> some{x, x / 2, 0};
        const Int4 group = group_of(some);
        for (Index i = 0; i < 3; ++i)  // a factor cannot be less than the least bfloat16
            CHECK(std::abs(double{group(i)} - double{some[static_cast<std::size_t>(i)]}) <=
                  std::abs(double{x}) / 15 + 8e-40);
    }
    for (const float x : {std::nanf(""), std::numeric_limits<float>::infinity()})
        CHECK(std::isnan(group_of({1, x, 2})(0)));
}

TEMPLATE_TEST_CASE("packets of 4 bits are the numbers of their groups", "", float, double) {
    namespace simd = attend::detail::simd;
    constexpr Index w = simd::width<TestType>;
    std::vector<Int4> row(3);
    for (std::size_t g = 0; g < row.size(); ++g) {
        row[g].factor = static_cast<Eigen::bfloat16>(g == 0 ? 0.75F : g == 1 ? -3e30F : std::nanf(""));
        for (int i = 0; i < 16; ++i) row[g].pairs[i] = static_cast<std::uint8_t>(i * 16 + (i * 7 + 3) % 16);
    }
    // By the definition of the group.
    const auto number = [&](Index at) {
        const Int4& group = row[static_cast<std::size_t>(at / 32)];
        const int byte = group.pairs[at % 16], n = (at % 32 < 16 ? byte % 16 : byte / 16) - 8;
        return static_cast<TestType>(n) * static_cast<TestType>(static_cast<float>(group.factor));
    };
    const auto same = [](TestType a, TestType b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    for (Index at = 0; at < 96; at += w) {
        for (Index count = 1; count <= w; ++count) {
            TestType lanes[64];
            simd::store(lanes, simd::load_as<TestType>(attend::detail::numbers_of(row.data()) + at, count));
            for (Index i = 0; i < w; ++i) CHECK(same(lanes[i], i < count ? number(at + i) : TestType(0)));
        }
    }
    for (Index at = 0; at < 96; ++at)
        CHECK(same(static_cast<TestType>(row[static_cast<std::size_t>(at / 32)](at % 32)), number(at)));
    std::vector<TestType> all(97, TestType(7));
    simd::convert(attend::detail::numbers_of(row.data()), 90, all.data());
    for (Index at = 0; at < 90; ++at) CHECK(same(all[static_cast<std::size_t>(at)], number(at)));
    CHECK(all[90] == 7);
}

}  // namespace test_stored_int4

// What sparsemax and entmax 1.5 have in common.
#include <attend/softmax/threshold.hpp>

#include <algorithm>
#include <cmath>

#include <support/catch.hpp>
#include <support/random.hpp>
#include <support/rows.hpp>

using namespace attend;
using namespace attend::test;

namespace test_threshold {
namespace {

template <int power>
std::vector<double> thresholded(std::vector<double> row) {
    attend::detail::threshold_row<power>(std::span<double>(row));
    return row;
}

template <int power>
void check_common_laws() {
    using Row = std::vector<double>;
    Random random(1);
    for (const Index size : {1, 2, 3, 17, 200}) {
        for (const double spread : {1e-9, 0.1, 1.0, 30.0}) {
            const Row x = random_row(random, size, spread), p = thresholded<power>(x);
            CHECK(sum_of(p) == Approx(1.0).epsilon(1e-14));
            Row shifted = x;
            for (double& value : shifted) value += 4.0;
            CHECK(largest_difference(thresholded<power>(shifted), p) < 1e-13);  // 4 + x has lost the last bits of x
            for (std::size_t i = 1; i < x.size(); ++i) CHECK((p[i] - p[i - 1]) * (x[i] - x[i - 1]) >= 0);
        }
    }
    CHECK(thresholded<power>({3.0, 3.0, 3.0, 3.0}) == Row{0.25, 0.25, 0.25, 0.25});
    CHECK(thresholded<power>({0.0, 5.0, 1.0}) == Row{0.0, 1.0, 0.0});
    CHECK(thresholded<power>({1e30, -1e30, 1e30}) == Row{0.5, 0.0, 0.5});
    CHECK(thresholded<power>({2.0, -infinity, 2.0}) == Row{0.5, 0.0, 0.5});
    CHECK(thresholded<power>({-infinity, -infinity}) == Row{0.0, 0.0});
    CHECK(thresholded<power>({1.0, infinity, -infinity, infinity}) == Row{0.0, 0.5, 0.0, 0.5});
    CHECK(thresholded<power>({}).empty());
    for (const double p : thresholded<power>({1.0, std::nan(""), infinity, -infinity})) CHECK(std::isnan(p));
}

}  // namespace

TEST_CASE("weights of power 1 sum to 1, ignore shifts, keep the order, and share alike") { check_common_laws<1>(); }

TEST_CASE("weights of power 2 sum to 1, ignore shifts, keep the order, and share alike") { check_common_laws<2>(); }

TEST_CASE("long rows of float sum to 1") {
    Random random(2);
    std::vector<float> row = random_row<float>(random, 100000, 0.001), squares = row;
    attend::detail::threshold_row<1>(std::span<float>(row));
    attend::detail::threshold_row<2>(std::span<float>(squares));
    for (const auto& p : {row, squares}) {
        double sum = 0;
        for (const float x : p) sum += static_cast<double>(x);
        CHECK(std::abs(sum - 1) < 2e-5);  // √100000 roundings
    }
}

}  // namespace test_threshold

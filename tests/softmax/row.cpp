// One row of scores: the sink, what is returned, and the same bits wherever the row stands. softmax.cpp has the rest.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include <attend/softmax/row.hpp>
#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_row {
using attend::detail::softmax_row;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

double total(const std::vector<double>& row) {
    double sum = 0;
    for (const double x : row) sum += x;
    return sum;
}

/// Weights and LSE.
struct Result {
    std::vector<double> p;
    double lse;
};
Result softmax_of(std::vector<double> row, double sink) {
    const double lse = softmax_row(std::span<double>(row), sink);
    return {std::move(row), lse};
}

}  // namespace

TEST_CASE("a sink is one more score, whose weight is missing from the row") {
    Random random(1);
    for (const Index n : {1, 2, 7, 8, 9, 64, 100}) {
        for (const double sink : {-1000.0, -3.0, 0.5, 2.0, 1000.0, 1e30, infinity}) {
            const std::vector<double> scores = random_row(random, n, 3.0);
            std::vector<double> longer = scores;
            longer.push_back(sink);
            const double lse = softmax_row(std::span<double>(longer));
            const Result with_sink = softmax_of(scores, sink);
            CHECK((with_sink.lse == lse || with_sink.lse == Approx(lse).epsilon(1e-14)));
            for (std::size_t j = 0; j < scores.size(); ++j)
                CHECK(with_sink.p[j] == Approx(longer[j]).epsilon(1e-14).margin(1e-300));
            CHECK(total(with_sink.p) + longer.back() == Approx(1).epsilon(1e-14));
        }
    }
}

TEST_CASE("a sink of minus infinity changes nothing") {
    const std::vector<double> scores{0.3, -2, 1.5};
    std::vector<double> row = scores;
    const double lse = softmax_row(std::span<double>(row));
    CHECK(softmax_of(scores, -infinity).p == row);
    CHECK(softmax_of(scores, -infinity).lse == lse);
}

TEST_CASE("a row without a score stays empty whatever the sink") {
    for (const double sink : {-infinity, -5.0, 0.0, 1e300, infinity}) {
        for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{9}}) {
            const Result result = softmax_of(std::vector<double>(n, -infinity), sink);
            CHECK(result.lse == -infinity);
            CHECK(result.p == std::vector<double>(n, 0.0));
        }
    }
}

TEST_CASE("a row far below its sink is not an empty one") {
    const Result result = softmax_of({-2000, -3000}, 1000);
    CHECK(result.lse == 1000);
    CHECK(result.p == std::vector<double>{0, 0});
}

TEST_CASE("NaN in a row or in the sink spreads to every weight and the LSE") {
    for (const std::size_t place : {0U, 3U, 8U}) {
        for (const double other : {1.0, -infinity, infinity}) {
            std::vector<double> scores(9, other);
            scores[place] = not_a_number;
            const Result result = softmax_of(scores, 0.0);
            CHECK(std::isnan(result.lse));
            CHECK(std::all_of(result.p.begin(), result.p.end(), [](double p) { return std::isnan(p); }));
        }
    }
    const Result result = softmax_of({1, 2}, not_a_number);
    CHECK(std::isnan(result.lse));
    CHECK((std::isnan(result.p[0]) && std::isnan(result.p[1])));
}

TEST_CASE("softmax_row_backward returns delta and looks at no gradient of weight 0") {
    const std::vector<double> p{0.25, 0, 0.75};
    std::vector<double> dp{2, not_a_number, -1};
    CHECK(attend::detail::softmax_row_backward(std::span<const double>(p), std::span<double>(dp)) == -0.25);
    CHECK(dp == std::vector<double>{0.25 * 2.25, 0, 0.75 * -0.75});
}

TEMPLATE_TEST_CASE("a row gives the same bits at every alignment, and writes nothing outside", "", float, double) {
    using T = TestType;
    Random random(2);
    for (const Index n : {1, 3, 4, 5, 8, 15, 16, 17, 31, 33, 100, 1000}) {
        const std::vector<T> scores = random_row<T>(random, n, 5.0);
        const std::vector<T> gradients = random_row<T>(random, n);
        const auto size = static_cast<std::size_t>(n);
        std::vector<T> first_p, first_ds;
        T first_lse = 0, first_delta = 0;
        for (std::size_t start = 0; start < 17; ++start) {
            std::vector<T> p(size + 34, T(-7)), ds(size + 51, T(-7));
            std::copy(scores.begin(), scores.end(), p.begin() + static_cast<std::ptrdiff_t>(start));
            std::copy(gradients.begin(), gradients.end(), ds.begin() + static_cast<std::ptrdiff_t>(2 * start));
            const std::span<T> p_row(p.data() + start, size), ds_row(ds.data() + 2 * start, size);
            const T lse = softmax_row(p_row);
            const T delta = attend::detail::softmax_row_backward(std::span<const T>(p_row), ds_row);
            CHECK(std::count(p.begin(), p.end(), T(-7)) == 34);
            CHECK(std::count(ds.begin(), ds.end(), T(-7)) == 51);
            if (start == 0) {
                first_p.assign(p_row.begin(), p_row.end());
                first_ds.assign(ds_row.begin(), ds_row.end());
                first_lse = lse;
                first_delta = delta;
            }
            CHECK(std::memcmp(p_row.data(), first_p.data(), size * sizeof(T)) == 0);
            CHECK(std::memcmp(ds_row.data(), first_ds.data(), size * sizeof(T)) == 0);
            CHECK(lse == first_lse);
            CHECK(delta == first_delta);
        }
    }
}

TEMPLATE_TEST_CASE("exponentials of a row", "", float, double, long double) {
    using T = TestType;
    constexpr T infinite = std::numeric_limits<T>::infinity();
    Random random(3);
    for (const Index n : {0, 1, 3, 4, 7, 8, 9, 16, 31, 100}) {
        std::vector<T> row;
        for (Index i = 0; i < n; ++i)
            row.push_back(static_cast<T>(std::ldexp(std::round((random.uniform() - 0.5) * 320), -4)));
        const std::vector<T> scores = row;
        const T shift = 2, sum = exponentials(std::span<T>(row), shift);
        T expected = 0;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const T right = static_cast<T>(std::exp(static_cast<long double>(scores[i] - shift)));
            CHECK(std::abs(row[i] - right) <= 2 * std::numeric_limits<T>::epsilon() * right);
            expected += right;
        }
        CHECK(std::abs(sum - expected) <= static_cast<T>(n + 2) * std::numeric_limits<T>::epsilon() * expected);
    }
    std::vector<T> row{-infinite, 3, infinite};
    CHECK(exponentials(std::span<T>(row), infinite) == 1);
    CHECK(row == std::vector<T>{0, 0, 1});
    row = {-infinite, -infinite};
    CHECK(exponentials(std::span<T>(row), -infinite) == 0);
    CHECK(row == std::vector<T>{0, 0});
}

}  // namespace test_row

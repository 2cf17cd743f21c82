// Folds of rows of a tile, whichever of queries and keys follow each other in memory, against plain loops.

#include <attend/insight/row_folds.hpp>

#include <cmath>
#include <limits>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_row_folds {
namespace {

/// The results of all rows, which start at `start`.
template <class Join, class T>
ColumnVector<T> folded(const RowMatrix<T>& x, const ColumnVector<T>* factors, bool queries_in_lanes, T start) {
    const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> across = x;  // column-major
    const Index stride = queries_in_lanes ? across.outerStride() : x.outerStride();
    const WeightsTile<T> tile{.sequence = 0,
                              .head = 0,
                              .part = 0,
                              .row = 0,
                              .rows = x.rows(),
                              .key = 0,
                              .keys = x.cols(),
                              .query_position = 0,
                              .key_position = 0,
                              .row_stride = queries_in_lanes ? 1 : stride,
                              .key_stride = queries_in_lanes ? stride : 1,
                              .weights = nullptr,
                              .factors = nullptr,
                              .scores = nullptr};
    ColumnVector<T> to = ColumnVector<T>::Constant(x.rows(), start);
    attend::detail::fold_rows<Join>(tile, queries_in_lanes ? across.data() : x.data(),
                                    factors == nullptr ? nullptr : factors->data(), to.data(),
                                    [](const auto& all, const auto& value, const auto& factor) {
                                        return Join::join(all, attend::detail::simd::mul(value, factor));
                                    });
    return to;
}

}  // namespace

TEMPLATE_TEST_CASE("sums and maxima of rows of any size, in both orders of memory", "", float, double) {
    using T = TestType;
    constexpr Index w = attend::detail::simd::width<T>;
    using Sum = attend::detail::SumOfRow<T>;
    using Largest = attend::detail::LargestOfRow<T>;
    Random random(1);
    double worst = 0;
    bool exact = true, shows = true;
    for (Index rows = 1; rows <= 2 * w + 1; rows += rows < 4 ? 1 : w / 2 + 1) {
        for (Index keys = 1; keys <= 2 * w + 1; ++keys) {
            RowMatrix<T> x = random_matrix<T>(random, rows, keys);
            const ColumnVector<T> factors = random_matrix<T>(random, rows, 1);
            for (const bool lanes : {true, false}) {
                const auto sums = folded<Sum, T>(x, &factors, lanes, T(0.5));
                const auto most = folded<Largest, T>(x, nullptr, lanes, T(0.5));
                for (Index i = 0; i < rows; ++i) {
                    double sum = 0.5;
                    for (Index j = 0; j < keys; ++j)
                        sum += static_cast<double>(factors[i]) * static_cast<double>(x(i, j));
                    worst =
                        std::max(worst, std::abs(sum - static_cast<double>(sums[i])) / static_cast<double>(keys + 2));
                    exact = exact && most[i] == std::max(T(0.5), x.row(i).maxCoeff());
                }
            }
            x(rows - 1, random_index(random, 0, keys - 1)) = std::numeric_limits<T>::quiet_NaN();
            for (const bool lanes : {true, false}) {
                const auto most = folded<Largest, T>(x, nullptr, lanes, T(-2));
                for (Index i = 0; i < rows; ++i) shows = shows && std::isnan(most[i]) == (i == rows - 1);
                const auto before = folded<Largest, T>(x, nullptr, lanes, std::numeric_limits<T>::quiet_NaN());
                shows = shows && before.array().isNaN().all();
            }
        }
    }
    CHECK(worst <= static_cast<double>(std::numeric_limits<T>::epsilon()));
    CHECK(exact);
    CHECK(shows);
}

}  // namespace test_row_folds

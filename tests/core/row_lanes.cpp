#include <attend/core/row_lanes.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_lane_block {
using attend::detail::lanes_to_rows;
using attend::detail::rows_to_lanes;

namespace {

constexpr int filler = 7;

template <class T>
constexpr Index w = attend::detail::simd::width<T>;

/// As many lanes as `rows` rows fill.
template <class T>
Index lanes_of(Index rows) {
    return std::max<Index>(1, (rows + w<T> - 1) / w<T>) * w<T>;
}

/// Columns below each other, lanes side by side: behind the rows there are zeros.
template <class T>
void check_rows_to_lanes(Index rows, Index columns) {
    CAPTURE(sizeof(T), rows, columns);
    Random random(1);
    const RowMatrix<T> from = random_matrix<T>(random, rows, columns + 2);
    const Index lanes = lanes_of<T>(rows);
    RowMatrix<T> to = RowMatrix<T>::Constant(columns + 1, lanes, filler), expected = to;
    expected.topRows(columns).setZero();
    expected.topLeftCorner(columns, rows) = T(0.3) * from.leftCols(columns).transpose();
    rows_to_lanes(from.data(), from.cols(), rows, columns, T(0.3), to.data(), lanes);
    CHECK(same_bits(to, expected));
}

/// Into rows of any strides, times a factor, from any lane on; what stands between and behind them stays.
template <class T, class X, int order>
void check_lanes_to_rows(Index rows, Index columns, Index first, Index step) {
    CAPTURE(sizeof(T), sizeof(X), order, rows, columns, first, step);
    using Matrix = Eigen::Matrix<X, Eigen::Dynamic, Eigen::Dynamic, order>;
    Random random(2);
    const Index lanes = lanes_of<T>(first + rows);
    const RowMatrix<T> from = random_matrix<T>(random, columns, lanes), factor = random_matrix<T>(random, 1, lanes);
    Matrix to = Matrix::Constant(step * rows + 1, step * columns + 1, X(filler)), expected = to;
    for (Index i = 0; i < rows; ++i) {
        for (Index a = 0; a < columns; ++a)
            expected(step * i, step * a) = static_cast<X>(from(a, first + i) * factor(0, first + i));
    }
    lanes_to_rows(from.data(), lanes, first, factor.data(), rows, columns, to.data(),
                  step * (order == Eigen::RowMajor ? to.outerStride() : 1),
                  step * (order == Eigen::RowMajor ? 1 : to.outerStride()));
    CHECK(same_bits(to, expected));
}

}  // namespace

TEMPLATE_TEST_CASE("rows stand in lanes, times a factor, and zeros in the lanes behind them", "", float, double) {
    for (const Index rows : {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33}) {
        for (const Index columns : {1, 2, 3, 5, 8, 16, 19, 32}) check_rows_to_lanes<TestType>(rows, columns);
    }
}

TEMPLATE_TEST_CASE("lanes go back into rows of any strides", "", float, double) {
    for (const Index rows : {1, 2, 5, 8, 17, 32}) {
        for (const Index columns : {1, 3, 8, 19}) {
            for (const Index first : {0, 1, 6}) {
                for (const Index step : {1, 2}) {
                    check_lanes_to_rows<TestType, TestType, Eigen::RowMajor>(rows, columns, first, step);
                    check_lanes_to_rows<TestType, TestType, Eigen::ColMajor>(rows, columns, first, step);
                }
            }
        }
    }
}

TEST_CASE("lanes go back into rows of 16 bits") {
    for (const Index rows : {1, 5, 17}) {
        for (const Index columns : {1, 3, 19}) {
            check_lanes_to_rows<float, Eigen::half, Eigen::RowMajor>(rows, columns, 2, 1);
            check_lanes_to_rows<float, Eigen::half, Eigen::ColMajor>(rows, columns, 2, 1);
            check_lanes_to_rows<float, Eigen::bfloat16, Eigen::RowMajor>(rows, columns, 0, 2);
        }
    }
}

}  // namespace test_lane_block

#include <attend/core/operand_rows.hpp>

#include <attend/core/view.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_operand_rows {
using attend::detail::add_rows;
using attend::detail::copy_rows;
using attend::detail::Slice;

namespace {

/// Rows and columns of a larger matrix of either order, and every second one of them.
template <class T, class X, int order>
void check(Index rows, Index columns, Index step) {
    CAPTURE(sizeof(T), sizeof(X), order, rows, columns, step);
    using Matrix = Eigen::Matrix<X, Eigen::Dynamic, Eigen::Dynamic, order>;
    Random random(3);
    const T factor = T(0.5);  // so that no product rounds
    Matrix operand = random_matrix<X>(random, step * rows + 1, step * columns + 1);
    const Index row = step * (order == Eigen::RowMajor ? operand.outerStride() : 1);
    const Index column = step * (order == Eigen::RowMajor ? 1 : operand.outerStride());
    Slice<X> slice(operand.data(), rows, columns, {row, column});

    RowMatrix<T> copy = RowMatrix<T>::Constant(rows + 1, columns + 3, T(7)), expected = copy;
    for (Index i = 0; i < rows; ++i) {
        for (Index a = 0; a < columns; ++a) expected(i, a) = factor * static_cast<T>(operand(step * i, step * a));
    }
    copy_rows(slice, factor, copy.data(), copy.outerStride());
    CHECK(same_bits(copy, expected));

    const RowMatrix<T> more = random_matrix<T>(random, rows + 1, columns + 3);
    Matrix sum = operand;
    for (Index i = 0; i < rows; ++i) {
        for (Index a = 0; a < columns; ++a) {
            X& to = sum(step * i, step * a);
            to = static_cast<X>(static_cast<T>(to) + factor * more(i, a));
        }
    }
    add_rows(more.data(), more.outerStride(), factor, slice);
    CHECK(same_bits(operand, sum));
}

template <class T, class X>
void check_orders(Index rows, Index columns) {
    for (const Index step : {1, 2}) {
        check<T, X, Eigen::RowMajor>(rows, columns, step);
        check<T, X, Eigen::ColMajor>(rows, columns, step);
    }
}

}  // namespace

TEST_CASE("rows of operands of either order are copied and added to, and nothing beside them") {
    for (const Index rows : {1, 2, 15, 16, 37, 64}) {
        for (const Index columns : {1, 3, 16, 33, 64}) {
            check_orders<float, float>(rows, columns);
            check_orders<double, double>(rows, columns);
            check_orders<float, Eigen::bfloat16>(rows, columns);
        }
    }
}

}  // namespace test_operand_rows

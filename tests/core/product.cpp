#include <attend/core/product.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;
using attend::detail::add_product;

namespace {

/// Every storage order, over the borders of the blocks, into matrices and parts of them.
template <class T>
void check_product(Index rows, Index depth, Index columns) {
    CAPTURE(sizeof(T), rows, depth, columns);
    Random random(1);
    const RowMatrix<T> a = random_matrix<T>(random, rows, depth), b = random_matrix<T>(random, depth, columns);
    const RowMatrix<T> start = random_matrix<T>(random, rows, columns);
    const RowMatrix<double> expected =
        a.template cast<double>() * b.template cast<double>() + start.template cast<double>();
    const double bound = static_cast<double>(depth + 2) * static_cast<double>(std::numeric_limits<T>::epsilon());

    RowMatrix<T> y = start;
    add_product(y, a, b);
    CHECK(distance(y, expected) <= bound);

    using ColumnMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
    const ColumnMajor a_columns = a, b_columns = b, b_turned = b.transpose();
    ColumnMajor y_columns = start;
    add_product(y_columns, a_columns, b_columns);
    CHECK(distance(y_columns, expected) <= bound);
    y = start;
    add_product(y, a, b_turned.transpose());
    CHECK(distance(y, expected) <= bound);

    // Every second column of every second row.
    RowMatrix<T> gapped = RowMatrix<T>::Constant(2 * rows, 2 * columns, T(7));
    Eigen::Map<RowMatrix<T>, Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>> part(
        gapped.data(), rows, columns, {4 * columns, 2});
    part = start;
    add_product(part, a, b_columns);
    CHECK(distance(part, expected) <= bound);
    part.setConstant(T(7));
    CHECK((gapped.array() == T(7)).all());
}

}  // namespace

TEMPLATE_TEST_CASE("a product in blocks is the product", "", float, double) {
    for (const Index rows : {0, 1, 2, 255, 257, 600}) check_product<TestType>(rows, 70, 30);
    for (const Index depth : {0, 1, 63, 65, 129, 400}) check_product<TestType>(20, depth, 30);
    for (const Index columns : {0, 1, 255, 257, 600}) check_product<TestType>(20, 70, columns);
    check_product<TestType>(300, 300, 300);
}

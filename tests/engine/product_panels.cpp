// What a product starts from, over the borders of panels, stages and blocks of rows.

#include <limits>

#include <attend/engine/packed_matrix.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_product_panels {
using attend::detail::add_product;
using attend::detail::ProductStart;

namespace {

/// Sums that start from numbers by column, over whatever stood in y, have the bits of those that are added to them.
template <class T, class Y, class B>
void check_start(const RowMatrix<T>& a, const B& b, const ColumnVector<T>& bias, const RowMatrix<double>& product) {
    const auto nan = std::numeric_limits<T>::quiet_NaN();
    const double bound = static_cast<double>(a.cols() + 2) * static_cast<double>(std::numeric_limits<T>::epsilon());
    for (const bool from_zero : {false, true}) {
        CAPTURE(from_zero);
        const auto start = from_zero ? ProductStart<T>::zero() : ProductStart<T>{bias.data()};
        Y y(a.rows(), b.cols()), added = Y::Zero(a.rows(), b.cols());
        if (!from_zero) added.rowwise() += bias.transpose();
        const RowMatrix<double> expected = product + added.template cast<double>();
        y.setConstant(nan);
        add_product(y, a, b, serial, start);
        CHECK(distance(RowMatrix<T>(y), expected) <= bound);
        add_product(added, a, b, serial);
        CHECK(same_bits(RowMatrix<T>(y), RowMatrix<T>(added)));
    }
}

template <class T>
void check_starts(Index rows, Index depth, Index columns) {
    CAPTURE(rows, depth, columns);
    using ColumnMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
    Random random(5);
    const RowMatrix<T> a = random_matrix<T>(random, rows, depth), b = random_matrix<T>(random, depth, columns);
    const ColumnMajor b_columns = b;
    const ColumnVector<T> bias = random_matrix<T>(random, columns, 1);
    const RowMatrix<double> product = a.template cast<double>() * b.template cast<double>();
    check_start<T, RowMatrix<T>>(a, b, bias, product);
    check_start<T, RowMatrix<T>>(a, b_columns, bias, product);
    check_start<T, ColumnMajor>(a, b, bias, product);
    check_start<T, ColumnMajor>(a, b_columns, bias, product);
    const attend::detail::PackedMatrix<T> packed(b);
    check_start<T, RowMatrix<T>>(a, packed, bias, product);
    check_start<T, ColumnMajor>(a, packed, bias, product);
}

}  // namespace

TEMPLATE_TEST_CASE("a product starts from what it is told, whatever stood in y", "", float, double) {
    for (const Index rows : {0, 1, 9, 47, 49, 193, 400}) check_starts<TestType>(rows, 70, 65);
    for (const Index depth : {0, 1, 8, 128, 129, 530}) check_starts<TestType>(20, depth, 30);
    for (const Index columns : {0, 1, 15, 64, 128, 200}) check_starts<TestType>(60, 40, columns);
}

TEMPLATE_TEST_CASE("a product writes no more than its sums", "", float, double) {
    using T = TestType;
    constexpr Index rows = 200, depth = 150, columns = 70;
    Random random(6);
    const RowMatrix<T> a = random_matrix<T>(random, rows, depth), b = random_matrix<T>(random, depth, columns);
    RowMatrix<T> around = RowMatrix<T>::Constant(rows + 2, columns + 2, T(7));
    Eigen::Map<RowMatrix<T>, Eigen::Unaligned, Eigen::OuterStride<>> y(around.data() + columns + 3, rows, columns,
                                                                       Eigen::OuterStride<>(columns + 2));
    add_product(y, a, b, serial, ProductStart<T>::zero());
    RowMatrix<T> alone = RowMatrix<T>::Zero(rows, columns);
    add_product(alone, a, b);
    CHECK(same_bits(RowMatrix<T>(y), alone));
    y.setConstant(T(7));
    CHECK((around.array() == T(7)).all());
}

TEMPLATE_TEST_CASE("gradients of a weight have the same bits whether rows or columns of it follow each other", "",
                   float, double) {
    using T = TestType;
    using ColumnMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
    Random random(7);
    for (const Index tokens : {9, 32, 200}) {
        CAPTURE(tokens);
        const RowMatrix<T> x = random_matrix<T>(random, tokens, 130), dy = random_matrix<T>(random, tokens, 192);
        RowMatrix<T> dw = RowMatrix<T>::Ones(130, 192);
        ColumnMajor dw_columns = dw;
        add_product(dw, x.transpose(), dy);
        add_product(dw_columns, x.transpose(), dy);
        CHECK(same_bits(RowMatrix<T>(dw_columns), dw));
        const RowMatrix<double> expected =
            x.template cast<double>().transpose() * dy.template cast<double>() + RowMatrix<double>::Ones(130, 192);
        CHECK(distance(dw, expected) <=
              static_cast<double>(tokens + 2) * static_cast<double>(std::numeric_limits<T>::epsilon()));
    }
}

}  // namespace test_product_panels

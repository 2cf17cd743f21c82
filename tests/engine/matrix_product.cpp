#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include <attend/engine/packed_matrix.hpp>
#include <attend/engine/row_products.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_product {
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

TEMPLATE_TEST_CASE("a deep product of few rows is as exact as Eigen's", "", float, double) {
    using T = TestType;
    using Exact = std::conditional_t<std::is_same_v<T, float>, double, long double>;
    constexpr Index depth = 4000, columns = 64;
    Random random(1);
    for (const Index rows : {1, 4, 8, 9}) {
        CAPTURE(rows);
        const RowMatrix<T> a = random_matrix<T>(random, rows, depth).cwiseAbs(),
                           b = random_matrix<T>(random, depth, columns).cwiseAbs();
        const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> b_columns = b;
        const RowMatrix<Exact> exact = a.template cast<Exact>() * b.template cast<Exact>();
        const auto error = [&](const RowMatrix<T>& y) {
            return static_cast<double>(((y.template cast<Exact>() - exact).array() / exact.array()).abs().maxCoeff());
        };
        const double allowed = 2 * error(a * b) + static_cast<double>(std::numeric_limits<T>::epsilon());
        RowMatrix<T> y = RowMatrix<T>::Zero(rows, columns), y_columns = y;
        add_product(y, a, b);
        add_product(y_columns, a, b_columns);
        CHECK(error(y) <= allowed);
        CHECK(error(y_columns) <= allowed);
    }
}

/// Three workers, the last one first.
struct Backwards {
    Index concurrency() const { return 3; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        for (Index i = count; i-- > 0;) f(i);
    }
};

TEMPLATE_TEST_CASE("a product with a packed matrix has the bits of that with the matrix itself", "", float, double) {
    Random random(1);
    for (const Index rows : {1, 9, 50, 400}) {
        for (const Index columns : {1, 16, 70, 129}) {
            for (const Index depth : {9, 128, 700}) {
                CAPTURE(rows, columns, depth);
                const RowMatrix<TestType> a = random_matrix<TestType>(random, rows, depth),
                                          start = random_matrix<TestType>(random, rows, columns);
                const Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic> b =
                    random_matrix<TestType>(random, depth, columns);
                const attend::detail::PackedMatrix<TestType> packed(b);
                RowMatrix<TestType> y = start, y_packed = start;
                Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic> y_columns = start;
                add_product(y, a, b);
                add_product(y_packed, a, packed, Backwards());
                add_product(y_columns, a, packed, serial);
                CHECK(same_bits(y_columns, y_packed));
                if (rows > attend::detail::most_few_rows) CHECK(same_bits(y_packed, y));
            }
        }
    }
}

TEMPLATE_TEST_CASE("a product has the same bits for any executor", "", float, double) {
    using T = TestType;
    Random random(1);
    for (const auto [rows, depth, columns] : {std::array<Index, 3>{300, 290, 310}, {5, 700, 900}, {1000, 40, 70}}) {
        CAPTURE(rows, depth, columns);
        const RowMatrix<T> a = random_matrix<T>(random, rows, depth);
        const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> b = random_matrix<T>(random, depth, columns);
        const RowMatrix<T> c = random_matrix<T>(random, rows, columns);
        RowMatrix<T> alone = RowMatrix<T>::Ones(rows, columns), shared = alone;
        add_product(alone, a, b);
        add_product(shared, a, b, Backwards());
        CHECK(alone == shared);
        Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> outer = b, shared_outer = b;
        add_product(outer, a.transpose(), c);
        add_product(shared_outer, a.transpose(), c, Backwards());
        CHECK(outer == shared_outer);
    }
}

TEMPLATE_TEST_CASE("outer products of rows sum in float and are rounded once, whatever the scalars", "", Eigen::half,
                   Eigen::bfloat16) {
    using attend::detail::add_outer_products;
    using T = TestType;
    constexpr Index rows = 700, a = 40, b = 150;
    Random random(1);
    const auto numbers = [&](Index columns) {
        return RowMatrix<T>((random_matrix<double>(random, rows, columns).array() + 0.5).matrix().template cast<T>());
    };
    RowMatrix<T> x = numbers(a), dy = numbers(b);
    x.row(3).setConstant(std::numeric_limits<T>::quiet_NaN());  // a masked row, which adds nothing
    dy.row(3).setZero();
    RowMatrix<double> exact_x = x.template cast<double>();
    exact_x.row(3).setZero();
    const RowMatrix<double> expected = exact_x.transpose() * dy.template cast<double>();
    const double rounding = std::ldexp(1.0, -std::numeric_limits<T>::digits), in_float = 1e-5;
    const auto off = [&](const auto& weight) {
        return ((weight.template cast<double>() - expected).array() / expected.array()).abs().maxCoeff();
    };
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> narrow, mixed;
    Eigen::MatrixXf wide;
    narrow.setZero(a, b), mixed.setZero(a, b), wide.setZero(a, b);
    add_outer_products(narrow, x, dy);
    add_outer_products(mixed, x, dy.template cast<float>().eval());
    add_outer_products(wide, x, dy);
    CHECK(off(narrow) <= rounding + in_float);
    CHECK(off(mixed) <= rounding + in_float);
    CHECK(off(wide) <= in_float);
    x.row(3).setZero();
    narrow.setZero();
    add_outer_products(narrow, x, dy);
    CHECK(off(narrow) <= rounding + in_float);
}

}  // namespace test_product

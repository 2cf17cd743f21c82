// Products of 16-bit matrices: against sums in double, whatever the storage orders, and the same bits in company.

#include <attend/attend.hpp>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_narrow_product {
namespace {

template <class X, int order>
using Matrix = Eigen::Matrix<X, Eigen::Dynamic, Eigen::Dynamic, order>;
constexpr int by_rows = Eigen::RowMajor, by_columns = Eigen::ColMajor;

template <class X>
RowMatrix<X> random_of(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<float>(random, rows, columns).template cast<X>();
}

/// Half the last digit of a number of this type, of 1.
template <class X>
constexpr double roundoff = std::is_same_v<X, Eigen::half>       ? 0x1p-11
                            : std::is_same_v<X, Eigen::bfloat16> ? 0x1p-8
                                                                 : 0x1p-24;

/// y + a · b against sums in double: the error of sums in float, and one rounding.
template <class Y, class A, class B>
void check_product(Index rows, Index depth, Index columns) {
    CAPTURE(rows, depth, columns);
    using X = typename A::Scalar;
    const A a = random_of<X>(rows, depth, 1);
    const B b = random_of<X>(depth, columns, 2);
    Y y = random_of<typename Y::Scalar>(rows, columns, 3);
    const Eigen::MatrixXd wide_a = a.template cast<double>(), wide_b = b.template cast<double>(),
                          start = y.template cast<double>();
    const Eigen::MatrixXd exact = start + wide_a * wide_b,
                          sizes = start.cwiseAbs() + wide_a.cwiseAbs() * wide_b.cwiseAbs();
    detail::add_product(y, a, b);
    const double of_sums = 0x1p-24 * (2 + std::sqrt(static_cast<double>(depth)));
    const Eigen::ArrayXXd allowed =
        of_sums * sizes.array() + 1.01 * roundoff<typename Y::Scalar> * exact.array().abs() + 0x1p-24;
    CHECK(((y.template cast<double>() - exact).array().abs() <= allowed).all());
}

template <class X>
void check_orders(Index rows, Index depth, Index columns) {
    check_product<Matrix<X, by_rows>, Matrix<X, by_rows>, Matrix<X, by_rows>>(rows, depth, columns);
    check_product<Matrix<X, by_rows>, Matrix<X, by_rows>, Matrix<X, by_columns>>(rows, depth, columns);
    check_product<Matrix<X, by_columns>, Matrix<X, by_columns>, Matrix<X, by_rows>>(rows, depth, columns);
    check_product<Matrix<float, by_columns>, Matrix<X, by_rows>, Matrix<X, by_columns>>(rows, depth, columns);
    check_product<Matrix<float, by_rows>, Matrix<X, by_columns>, Matrix<X, by_rows>>(rows, depth, columns);
}

}  // namespace

TEMPLATE_TEST_CASE("a product of 16 bits is a sum in float, rounded once", "", Eigen::half, Eigen::bfloat16) {
    for (const Index rows : {1, 7, 16, 193}) {
        for (const Index depth : {1, 2, 33, 129, 300}) {
            for (const Index columns : {1, 5, 64, 97}) check_orders<TestType>(rows, depth, columns);
        }
    }
    check_orders<TestType>(400, 64, 130);
}

TEMPLATE_TEST_CASE("several products of 16 bits are rounded together", "", Eigen::half, Eigen::bfloat16) {
    using M = Matrix<TestType, by_rows>;
    // Each lies below half of the last digit of what is there, and all of them together above it.
    const M a = M::Constant(20, 4, TestType(1)),
            b = M::Constant(4, 30, TestType(static_cast<float>(roundoff<TestType>) / 8));
    M y = M::Constant(20, 30, TestType(1));
    detail::add_products(y, serial, detail::times(a, b), detail::times(a, b), detail::times(a, b));
    CHECK((y.template cast<float>().array() > 1).all());
}

TEMPLATE_TEST_CASE("an element of a product of 16 bits has the same bits in any company", "", Eigen::half,
                   Eigen::bfloat16) {
    using M = Matrix<TestType, by_rows>;
    const M a = random_of<TestType>(500, 200, 1), b = random_of<TestType>(200, 300, 2);
    M all = M::Zero(500, 300), threads = all, one = M::Zero(1, 1);
    detail::add_product(all, a, b);
    Eigen::ThreadPool pool(3);
    const ThreadPoolExecutor executor(pool);
    detail::add_product(threads, a, b, executor);
    CHECK((all.array() == threads.array()).all());
    for (const auto& [i, j] : {std::pair<Index, Index>{0, 0}, {191, 63}, {192, 64}, {499, 299}}) {
        const M row = a.row(i), column = b.col(j);
        one.setZero();
        detail::add_product(one, row, column);
        CHECK(one(0, 0) == all(i, j));
    }
}

TEMPLATE_TEST_CASE("what is not finite in a product of 16 bits stays in its row and column", "", Eigen::half,
                   Eigen::bfloat16) {
    using M = Matrix<TestType, by_rows>;
    M a = random_of<TestType>(40, 50, 1), b = random_of<TestType>(50, 70, 2);
    M clean = M::Zero(40, 70), y = clean;
    detail::add_product(clean, a, b);
    a(7, 49) = TestType(std::numeric_limits<float>::infinity());
    b(3, 69) = TestType(std::numeric_limits<float>::quiet_NaN());
    detail::add_product(y, a, b);
    for (Index i = 0; i < 40; ++i) {
        for (Index j = 0; j < 70; ++j) {
            const float x = static_cast<float>(y(i, j));
            CHECK((i == 7 || j == 69 ? !std::isfinite(x) : x == static_cast<float>(clean(i, j))));
        }
    }
}

}  // namespace test_narrow_product

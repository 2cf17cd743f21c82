// The lines of a matrix: each coefficient where it belongs, copied only where that is needed, and written back.

#define EIGEN_RUNTIME_NO_MALLOC
#include <attend/softmax/lines.hpp>
#include <support/catch.hpp>

using namespace attend;
using attend::detail::Lines;
using attend::detail::view_of;

namespace {

/// x(i, j) = 1000 i + j, exact in float.
template <class X>
void number(X& x) {
    for (Index i = 0; i < x.rows(); ++i) {
        for (Index j = 0; j < x.cols(); ++j)
            x(i, j) = static_cast<typename X::Scalar>(static_cast<float>(1000 * i + j));
    }
}

/// Reads every line of x, then doubles x through its lines.
template <class X>
void check_lines(X&& x, Along along) {
    using Matrix = std::remove_cvref_t<X>;
    using T = typename Matrix::Scalar;
    number(x);
    const auto at = [&](Index line, Index j) {
        return static_cast<float>(along == Along::rows ? 1000 * line + j : 1000 * j + line);
    };
    {
        Lines<const T, Matrix> lines(view_of<const T>(x.data(), x), along);
        REQUIRE(lines.count() == (along == Along::rows ? x.rows() : x.cols()));
        for (Index i = 0; i < lines.count(); ++i) {
            const auto line = lines[i];
            REQUIRE(std::ssize(line) == (along == Along::rows ? x.cols() : x.rows()));
            for (Index j = 0; j < std::ssize(line); ++j)
                REQUIRE(static_cast<float>(line[static_cast<std::size_t>(j)]) == at(i, j));
        }
    }
    {
        Lines<T, Matrix> lines(view_of<T>(x.data(), x), along);
        for (Index i = 0; i < lines.count(); ++i) {
            for (auto& value : lines[i]) value *= 2;
        }
    }
    for (Index i = 0; i < x.rows(); ++i) {
        for (Index j = 0; j < x.cols(); ++j)
            REQUIRE(static_cast<float>(x(i, j)) == static_cast<float>(2 * (1000 * i + j)));
    }
}

template <class Matrix>
void check_all_ways(Matrix x) {
    for (const Along along : {Along::rows, Along::columns}) check_lines(x, along);
}

template <class X>
bool is_in_place(X& x, Along along) {
    using T = typename X::Scalar;
    Lines<T, X> lines(view_of<T>(x.data(), x), along);
    return static_cast<const void*>(lines[0].data()) == static_cast<const void*>(x.data());
}

}  // namespace

TEST_CASE("lines of every shape and storage order") {
    for (const Index rows : {0, 1, 2, 15, 16, 17, 40}) {
        for (const Index columns : {0, 1, 3, 33}) {
            check_all_ways(Eigen::MatrixXf(rows, columns));
            check_all_ways(RowMatrix<double>(rows, columns));
            check_all_ways(RowMatrix<long double>(rows, columns));
        }
    }
}

TEST_CASE("long lines, of which few or none fit on the stack") {
    for (const Index columns : {3000, 8192, 8193, 17000}) {
        check_all_ways(Eigen::MatrixXd(7, columns));
        check_all_ways(RowMatrix<double>(columns, 7));
    }
}

TEST_CASE("lines of a part of a matrix leave the rest alone") {
    for (const Along along : {Along::rows, Along::columns}) {
        Eigen::MatrixXf whole = Eigen::MatrixXf::Constant(40, 30, -1);
        check_lines(whole.block(3, 4, 20, 11), along);
        whole.block(3, 4, 20, 11).setConstant(-1);
        CHECK((whole.array() == -1).all());
    }
}

TEST_CASE("lines through an inner stride") {
    std::vector<double> memory(1000, -1);
    using Strided = Eigen::Map<Eigen::MatrixXd, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;
    for (const Along along : {Along::rows, Along::columns}) {
        check_lines(Strided(memory.data(), 9, 7, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(60, 3)), along);
    }
    CHECK(std::count(memory.begin(), memory.end(), -1.0) == 1000 - 63);
}

TEST_CASE("lines of 16 bits are float") {
    // 11 and 8 bits of mantissa hold these numbers.
    for (const Along along : {Along::rows, Along::columns}) {
        check_lines(Eigen::Matrix<Eigen::half, 1, 40>(), along);
        check_lines(Eigen::Matrix<Eigen::half, Eigen::Dynamic, Eigen::Dynamic>(2, 40), along);
        check_lines(Eigen::Matrix<Eigen::bfloat16, 1, 40>(), along);
    }
    STATIC_REQUIRE(std::is_same_v<Lines<const Eigen::half, Eigen::MatrixXf>::Line, std::span<const float>>);
}

TEST_CASE("contiguous lines are not copied") {
    Eigen::MatrixXf by_columns(4, 5);
    RowMatrix<float> by_rows(4, 5);
    CHECK(is_in_place(by_columns, Along::columns));
    CHECK_FALSE(is_in_place(by_columns, Along::rows));
    CHECK(is_in_place(by_rows, Along::rows));
    CHECK_FALSE(is_in_place(by_rows, Along::columns));
    Eigen::VectorXf vector(4);
    CHECK(is_in_place(vector, Along::columns));
    CHECK(is_in_place(vector, Along::rows));
}

TEST_CASE("lines that fit on the stack need no heap") {
    Eigen::Matrix<float, 5, 70> fixed;
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, 8, 20> bounded(7, 9);
    Eigen::Matrix<Eigen::half, 3, 33> halves;
    Eigen::MatrixXf dynamic(3, 16384);
    Eigen::internal::set_is_malloc_allowed(false);
    const bool copied = !is_in_place(fixed, Along::rows) && !is_in_place(bounded, Along::columns) &&
                        !is_in_place(halves, Along::columns) && !is_in_place(halves, Along::rows) &&
                        !is_in_place(dynamic, Along::rows);
    Eigen::internal::set_is_malloc_allowed(true);
    CHECK(copied);
}

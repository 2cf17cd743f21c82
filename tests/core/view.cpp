#include <vector>

#include <attend/attention.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_view {
namespace {

template <class T>
const T& at(const StridedView<T>& view, Index sequence, Index head, Index row, Index column) {
    return view.data[sequence * view.sequence_stride + head * view.head_stride + row * view.row_stride +
                     column * view.column_stride];
}

/// The operand made of `x` reads x's own memory, every entry from its place.
template <class X>
void check_reads_in_place(const X& x) {
    const attend::detail::Operand operand(x);
    const auto view = operand.view();
    CHECK(view.sequences == 1);
    CHECK(view.heads == 1);
    REQUIRE(view.rows == x.rows());
    REQUIRE(view.columns == x.cols());
    for (Index i = 0; i < x.rows(); ++i) {
        for (Index j = 0; j < x.cols(); ++j) CHECK(&at(view, 0, 0, i, j) == &x.coeffRef(i, j));
    }
}

template <class Matrix>
Matrix numbered(Index rows, Index columns) {
    Matrix x(rows, columns);
    for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < columns; ++j) x(i, j) = static_cast<double>(100 * i + j);
    }
    return x;
}

}  // namespace

TEMPLATE_TEST_CASE("matrices, blocks, maps and transposes of both orders are read where they are", "", Eigen::MatrixXd,
                   RowMatrix<double>) {
    const TestType x = numbered<TestType>(6, 8);
    check_reads_in_place(x);
    check_reads_in_place(x.transpose());
    check_reads_in_place(x.block(1, 2, 3, 4));
    check_reads_in_place(x.row(2));
    check_reads_in_place(x.col(3));
    check_reads_in_place(x.col(3).segment(1, 4));
    check_reads_in_place(x.block(1, 2, 3, 4).transpose().bottomRows(2));
    check_reads_in_place(
        Eigen::Map<const TestType, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>(x.data(), 3, 2, {14, 3}));
    check_reads_in_place(Eigen::Ref<const TestType, 0, Eigen::OuterStride<>>(x.leftCols(5)));
    check_reads_in_place(x.array());
}

TEST_CASE("vectors and fixed sizes are read where they are") {
    check_reads_in_place(numbered<Eigen::VectorXd>(5, 1));
    check_reads_in_place(numbered<Eigen::RowVectorXd>(1, 5));
    check_reads_in_place(numbered<Eigen::Matrix3d>(3, 3));
    check_reads_in_place(numbered<Eigen::Matrix<double, 2, 3, Eigen::RowMajor>>(2, 3));
    check_reads_in_place(numbered<Eigen::Matrix<double, 1, 3>>(1, 3));
    check_reads_in_place(numbered<Eigen::VectorXd>(5, 1).transpose().eval());
}

TEST_CASE("an operand that is no memory is evaluated once, each coefficient") {
    Random random(1);
    const Eigen::MatrixXd q = random_matrix<double>(random, 3, 4), k = random_matrix<double>(random, 5, 4),
                          v = random_matrix<double>(random, 5, 2);
    Index evaluations = 0;
    const auto counted = [&](const Eigen::MatrixXd& x) {
        return x.unaryExpr([&evaluations](double value) {
            ++evaluations;
            return 2 * value;
        });
    };
    const Eigen::MatrixXd out = scaled_dot_product(counted(q), counted(k), counted(v));
    CHECK(evaluations == q.size() + k.size() + v.size());
    CHECK(same_bits(out, scaled_dot_product(Eigen::MatrixXd(2 * q), Eigen::MatrixXd(2 * k), Eigen::MatrixXd(2 * v))));
}

TEMPLATE_TEST_CASE("heads are blocks of columns", "", Eigen::MatrixXd, RowMatrix<double>) {
    TestType x = numbered<TestType>(3, 8);
    const auto check = [&](const auto& view, const auto& of) {
        REQUIRE(view.heads == 4);
        REQUIRE(view.rows == of.rows());
        REQUIRE(view.columns == of.cols() / 4);
        for (Index head = 0; head < view.heads; ++head) {
            for (Index i = 0; i < view.rows; ++i) {
                for (Index j = 0; j < view.columns; ++j)
                    CHECK(at(view, 0, head, i, j) == of(i, head * view.columns + j));
            }
        }
    };
    check(heads(x, 4), x);
    check(heads(std::as_const(x), 4), x);
    check(heads(x.middleRows(1, 2), 4), x.middleRows(1, 2));
    const RowMatrix<double> wide = numbered<RowMatrix<double>>(8, 2);
    check(heads(wide.transpose(), 4), wide.transpose());

    heads(x, 4).data[0] = -1;
    CHECK(x(0, 0) == -1);
    static_assert(std::is_same_v<decltype(heads(std::as_const(x), 4)), StridedView<const double>>);
}

TEST_CASE("a strided view reads a foreign tensor in any order of its dimensions") {
    // (batch, row, head, column) in memory, as a projection leaves it, seen as (batch, head, row, column).
    constexpr Index batches = 2, rows = 3, count = 4, columns = 5;
    std::vector<double> memory(batches * rows * count * columns);
    for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<double>(i);
    const auto view =
        strided(memory.data(), {batches, count, rows, columns}, {rows * count * columns, columns, count * columns, 1});
    for (Index b = 0; b < batches; ++b) {
        for (Index h = 0; h < count; ++h) {
            for (Index i = 0; i < rows; ++i) {
                for (Index j = 0; j < columns; ++j) {
                    CHECK(at(view, b, h, i, j) == static_cast<double>(((b * rows + i) * count + h) * columns + j));
                }
            }
        }
    }
    const StridedView<const double> read_only = view;
    CHECK(&at(read_only, 1, 2, 1, 3) == &at(view, 1, 2, 1, 3));
}

TEST_CASE("a stride of 0 repeats: one key head for all, without a copy") {
    Random random(2);
    const RowMatrix<double> q = random_matrix<double>(random, 3, 8), k = random_matrix<double>(random, 5, 4),
                            v = random_matrix<double>(random, 5, 4);
    const auto repeated = [](const RowMatrix<double>& x) {
        return strided(x.data(), {1, 2, x.rows(), x.cols()}, {0, 0, x.cols(), 1});
    };
    const RowMatrix<double> out = scaled_dot_product(heads(q, 2), repeated(k), repeated(v));
    CHECK(same_bits(out, scaled_dot_product(heads(q, 2), k, v)));
}

}  // namespace test_view

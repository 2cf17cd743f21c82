#include <vector>

#include <attend/attention.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_output {
namespace {

/// 2 sequences × 3 heads × 4 rows × 5 columns, as a call would ask for them.
StridedView<double> take(Output<double> output, HeadBlocks blocks = HeadBlocks::side_by_side) {
    output.check("out", 2, 3, 4, 5, blocks);
    return output.as(2, 3, 4, 5, blocks);
}

/// Numbers every entry of the view: 1000 · sequence + 100 · head + 10 · row + column.
void number(const StridedView<double>& view) {
    for (Index s = 0; s < view.sequences; ++s) {
        for (Index h = 0; h < view.heads; ++h) {
            for (Index i = 0; i < view.rows; ++i) {
                for (Index j = 0; j < view.columns; ++j) {
                    view.data[s * view.sequence_stride + h * view.head_stride + i * view.row_stride +
                              j * view.column_stride] = static_cast<double>(1000 * s + 100 * h + 10 * i + j);
                }
            }
        }
    }
}

void check_side_by_side(const Eigen::MatrixXd& x) {
    REQUIRE(x.rows() == 8);
    REQUIRE(x.cols() == 15);
    for (Index i = 0; i < 8; ++i) {
        for (Index j = 0; j < 15; ++j)
            CHECK(x(i, j) == static_cast<double>(1000 * (i / 4) + 100 * (j / 5) + 10 * (i % 4) + j % 5));
    }
}

const auto says = [](const std::string& text) { return Catch::Matchers::Message("attend: " + text); };

}  // namespace

TEMPLATE_TEST_CASE(
    "an empty matrix of either order is resized, zeroed, and holds heads side by side, sequences below each other", "",
    Eigen::MatrixXd, RowMatrix<double>) {
    TestType x;
    take(x);
    CHECK((x.array() == 0).all());
    number(take(x));
    check_side_by_side(x);

    TestType shaped = TestType::Constant(8, 15, 7.0);
    take(shaped);
    CHECK((shaped.array() == 7.0).all());
    number(take(shaped));
    check_side_by_side(shaped);
}

TEST_CASE("score matrices hold the heads' blocks below each other") {
    Eigen::MatrixXd x;
    number(take(x, HeadBlocks::below_each_other));
    REQUIRE(x.rows() == 24);
    REQUIRE(x.cols() == 5);
    for (Index i = 0; i < 24; ++i) {
        for (Index j = 0; j < 5; ++j)
            CHECK(x(i, j) == static_cast<double>(1000 * (i / 4 % 2) + 100 * (i / 8) + 10 * (i % 4) + j));
    }
}

TEST_CASE("blocks, maps, transposes, heads and strided views are written in place") {
    RowMatrix<double> memory = RowMatrix<double>::Zero(20, 20);
    number(take(memory.block(3, 2, 8, 15)));
    check_side_by_side(memory.block(3, 2, 8, 15));
    CHECK(memory.leftCols(2).isZero());

    Eigen::MatrixXd lying = Eigen::MatrixXd::Zero(15, 8);
    number(take(lying.transpose()));
    check_side_by_side(lying.transpose());

    std::vector<double> values(8 * 15 * 2);
    Eigen::Map<Eigen::MatrixXd, 0, Eigen::InnerStride<2>> map(values.data(), 8, 15);
    number(take(map));
    check_side_by_side(map);

    Eigen::MatrixXd by_strides(8, 15);
    number(take(strided(by_strides.data(), {2, 3, 4, 5}, {4, 5 * 8, 1, 8})));
    check_side_by_side(by_strides);
}

TEST_CASE("what is not asked for is no output") {
    Output<double> none;
    CHECK_FALSE(none);
    none.check("out", 2, 3, 4, 5);
    CHECK(none.as(2, 3, 4, 5).data == nullptr);
    Eigen::MatrixXd empty;
    CHECK(Output<double>(empty));
}

TEST_CASE("an output that is neither empty nor of the right shape is refused by name") {
    Eigen::MatrixXd x(8, 14);
    CHECK_THROWS_MATCHES(take(x), std::invalid_argument, says("out (8x14) must be 8x15, or empty to be resized"));
    CHECK_THROWS_MATCHES(take(x.leftCols(0)), std::invalid_argument, says("out (8x0) must be 8x15"));
    CHECK_THROWS_MATCHES(take(heads(x, 2)), std::invalid_argument,
                         says("out (2 heads x 8x7) must be 2 sequences x 3 heads x 4x5"));
}

TEST_CASE("a resize changes no dimension that is fixed") {
    Eigen::Matrix<double, Eigen::Dynamic, 15> rows_are_free;
    number(take(rows_are_free));
    check_side_by_side(rows_are_free);
    Eigen::Matrix<double, 8, 15> fixed;
    number(take(fixed));
    check_side_by_side(fixed);
    Eigen::Matrix<double, 15, Eigen::Dynamic> wrong;
    CHECK_THROWS_MATCHES(take(wrong), std::invalid_argument, says("out (15x0) must be 8x15, or empty to be resized"));
    Eigen::VectorXd column;
    CHECK_THROWS_AS(take(column), std::invalid_argument);
}

TEST_CASE("a call writes the same to every kind of output") {
    Random random(1);
    const RowMatrix<double> q = random_matrix<double>(random, 3, 4), k = random_matrix<double>(random, 5, 4),
                            v = random_matrix<double>(random, 5, 2);
    RowMatrix<double> out, weights;
    Eigen::VectorXd lse;
    scaled_dot_product(q, k, v, out, {.lse = lse, .weights = weights});

    Eigen::Matrix<double, 3, 2> fixed;
    Eigen::Matrix<double, 3, 1> fixed_lse;
    Eigen::MatrixXd wide = Eigen::MatrixXd::Zero(6, 5);
    scaled_dot_product(q, k, v, fixed, {.lse = fixed_lse, .weights = wide.topRows(3)});
    CHECK(same_bits(fixed, out));
    CHECK(same_bits(fixed_lse, lse));
    CHECK(same_bits(wide.topRows(3), weights));
    CHECK(wide.bottomRows(3).isZero());
}

}  // namespace test_output

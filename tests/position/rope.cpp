#include <cmath>
#include <vector>

#include <attend/position/rope.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_rope {
namespace {

const Rope all_ropes[] = {{},
                          {.layout = RopeLayout::interleaved},
                          {.width = 4, .base = 500.0},
                          {.layout = RopeLayout::interleaved, .width = 6}};

RowMatrix<double> turned(const Rope& rope, RowMatrix<double> x, Index offset = 0) {
    rope(x, offset);
    return x;
}

const auto says = [](const std::string& text) { return Catch::Matchers::Message("attend: " + text); };

}  // namespace

TEST_CASE("pair i of row r turns by (offset + r) base^(-2i/width); what lies beyond the width stays") {
    Random random(1);
    const RowMatrix<double> x = random_matrix<double>(random, 5, 8);
    for (const Rope& rope : all_ropes) {
        const Index width = rope.width == 0 ? 8 : rope.width, offset = 11;
        RowMatrix<double> expected = x;
        for (Index row = 0; row < 5; ++row) {
            for (Index pair = 0; pair < width / 2; ++pair) {
                const bool split = rope.layout == RopeLayout::half_split;
                const Index a = split ? pair : 2 * pair, b = split ? pair + width / 2 : 2 * pair + 1;
                const double power = -2.0 * static_cast<double>(pair) / static_cast<double>(width);
                const double angle = static_cast<double>(offset + row) * std::pow(rope.base, power);
                expected(row, a) = x(row, a) * std::cos(angle) - x(row, b) * std::sin(angle);
                expected(row, b) = x(row, a) * std::sin(angle) + x(row, b) * std::cos(angle);
            }
        }
        CHECK(distance(turned(rope, x, offset), expected) <= 1e-14);
        CHECK(same_bits(turned(rope, x, offset).rightCols(8 - width), x.rightCols(8 - width)));
    }
}

TEST_CASE("q · k depends on the distance of their positions alone") {
    Random random(2);
    const RowMatrix<double> q = random_matrix<double>(random, 1, 8), k = random_matrix<double>(random, 1, 8);
    for (const Rope& rope : all_ropes) {
        const auto product = [&](Index query, Index key) {
            return turned(rope, q, query).row(0).dot(turned(rope, k, key).row(0));
        };
        for (const Index shift : {1, 7, 100}) {
            CHECK(product(3 + shift, 1 + shift) == Approx(product(3, 1)).epsilon(1e-12));
            CHECK(product(shift, shift) == Approx(q.row(0).dot(k.row(0))).epsilon(1e-12));
        }
        CHECK(std::abs(product(9, 1) - product(3, 1)) > 1e-3);
    }
}

TEST_CASE("the inverse undoes the turn and is its gradient") {
    Random random(3);
    const RowMatrix<double> x = random_matrix<double>(random, 6, 8), dy = random_matrix<double>(random, 6, 8);
    for (const Rope& rope : all_ropes) {
        RowMatrix<double> y = turned(rope, x, 5), dx = dy;
        CHECK(y.rowwise().norm().isApprox(x.rowwise().norm(), 1e-14));
        // A linear map's gradient is its adjoint: ⟨turn x, dy⟩ = ⟨x, turn* dy⟩ for all x and dy.
        rope.inverse(dx, 5);
        CHECK(y.cwiseProduct(dy).sum() == Approx(x.cwiseProduct(dx).sum()).epsilon(1e-13));
        rope.inverse(y, 5);
        CHECK(distance(y, x) <= 1e-15);
    }
}

TEST_CASE("heads, sequences, strides and storage orders turn as matrices of their own") {
    Random random(4);
    const RowMatrix<double> x = random_matrix<double>(random, 10, 24);
    const Rope rope{.layout = RopeLayout::interleaved, .width = 6};
    RowMatrix<double> expected = x;
    for (Index head = 0; head < 3; ++head) {
        expected.block(0, 8 * head, 5, 8) = turned(rope, x.block(0, 8 * head, 5, 8), 2);
        expected.block(5, 8 * head, 5, 8) = turned(rope, x.block(5, 8 * head, 5, 8), 2);
    }
    RowMatrix<double> rows = x;
    rope(strided(rows.data(), {2, 3, 5, 8}, {5 * 24, 8, 24, 1}),
         2);  // each sequence starts from its own first position
    CHECK(same_bits(rows, expected));

    Eigen::MatrixXd columns = x;
    rope(heads(columns.topRows(5), 3), 2);
    rope(heads(columns.bottomRows(5), 3), 2);
    CHECK(same_bits(columns, expected));
}

TEST_CASE("an offset is where the rows stand: a part of a text turns as within the whole") {
    Random random(5);
    const RowMatrix<double> x = random_matrix<double>(random, 9, 4);
    CHECK(same_bits(turned({}, x.bottomRows(4), 5), turned({}, x).bottomRows(4)));
    CHECK(same_bits(turned({}, x.topRows(1)), x.topRows(1)));
}

TEST_CASE("16-bit features are turned in float and rounded once") {
    Random random(6);
    const RowMatrix<Eigen::half> x = random_matrix<double>(random, 4, 8).cast<Eigen::half>();
    RowMatrix<Eigen::half> y = x;
    RowMatrix<float> in_float = x.cast<float>();
    Rope{}(y, 3);
    Rope{}(in_float, 3);
    CHECK(same_bits(y, in_float.cast<Eigen::half>()));
}

TEST_CASE("rotate turns by given angles: those of Rope give what Rope gives") {
    Random random(7);
    const RowMatrix<double> x = random_matrix<double>(random, 6, 8);
    RowMatrix<double> angles(6, 3);
    for (Index row = 0; row < 6; ++row) {
        for (Index pair = 0; pair < 3; ++pair) {
            angles(row, pair) = static_cast<double>(row) * std::pow(10000.0, -static_cast<double>(pair) / 3);
        }
    }
    for (const RopeLayout layout : {RopeLayout::half_split, RopeLayout::interleaved}) {
        RowMatrix<double> y = x;
        rotate(y, angles.array().cos(), angles.array().sin(), layout);
        CHECK(distance(y, turned({.layout = layout, .width = 6}, x)) <= 1e-14);
    }
}

TEST_CASE("positions of a call or of the value take the place of rows, whole or not") {
    Random random(8);
    const RowMatrix<double> x = random_matrix<double>(random, 4, 12);
    const std::vector<Index> where{7, 0, 19, 7};
    const Eigen::Map<const Eigen::Matrix<Index, Eigen::Dynamic, 1>> as_column(where.data(), 4);
    for (const Rope& rope : all_ropes) {
        RowMatrix<double> y = x, back = x;
        rope(heads(y, 1), as_column);
        for (Index i = 0; i < 4; ++i)
            CHECK(same_bits(y.row(i), turned(rope, x.row(i), where[static_cast<std::size_t>(i)])));
        rope.inverse(back, as_column);
        CHECK(back.cwiseProduct(x).sum() == Approx(y.cwiseProduct(x).sum()).epsilon(1e-13));
    }
    Rope fractions;
    fractions.positions = RowMatrix<double>(6, 1);
    fractions.positions << 9, 9, 0.5, -3, 1e4, 2;
    RowMatrix<double> y = x;
    fractions(y, 2);
    const Eigen::Vector4f in_float(0.5f, -3, 1e4f, 2);
    RowMatrix<double> of_call = x;
    Rope{}(of_call, in_float);
    CHECK(same_bits(y, of_call));
    const double angle = -3 * std::pow(10000.0, -2.0 / 12);  // row 1, pair 1
    CHECK(y(1, 1) == Approx(x(1, 1) * std::cos(angle) - x(1, 7) * std::sin(angle)).epsilon(1e-13));
}

TEST_CASE("on two axes half of the pairs turn by the row and half by the column, each half as a head of its own") {
    Random random(9);
    const RowMatrix<double> x = random_matrix<double>(random, 6, 8);
    Rope rope{.base = 100.0, .positions = grid_positions(2, 3)};
    const RowMatrix<double> y = turned(rope, x);
    for (Index i = 0; i < 6; ++i) {
        for (Index pair = 0; pair < 4; ++pair) {
            const double position = pair < 2 ? double(i / 3) : double(i % 3);
            const double angle = position * std::pow(100.0, -2.0 * double(pair % 2) / 4);
            CHECK(y(i, pair) == Approx(x(i, pair) * std::cos(angle) - x(i, pair + 4) * std::sin(angle)).margin(1e-14));
            CHECK(y(i, pair + 4) ==
                  Approx(x(i, pair) * std::sin(angle) + x(i, pair + 4) * std::cos(angle)).margin(1e-14));
        }
    }
    RowMatrix<double> of_call = x;
    Rope{.base = 100.0}(of_call, grid_positions(2, 3));
    CHECK(same_bits(of_call, y));
    // q · k depends on both distances alone.
    const RowMatrix<double> q = x.row(0), k = x.row(1);
    const auto product = [&](double row, double column) {
        RowMatrix<double> a = q, b = k;
        rope(a, (RowMatrix<double>(1, 2) << row + 3, column + 1).finished());
        rope(b, (RowMatrix<double>(1, 2) << row, column).finished());
        return a.row(0).dot(b.row(0));
    };
    CHECK(product(5, 40) == Approx(product(0, 0)).epsilon(1e-12));
}

TEST_CASE("a magnitude multiplies what turns, and its gradient") {
    Random random(10);
    const RowMatrix<double> x = random_matrix<double>(random, 3, 8), dy = random_matrix<double>(random, 3, 8);
    const Rope rope{.width = 6, .magnitude = 1.5};
    const RowMatrix<double> y = turned(rope, x, 4), plain = turned({.width = 6}, x, 4);
    CHECK(distance(y.leftCols(6), 1.5 * plain.leftCols(6)) <= 1e-15 * 16);
    CHECK(same_bits(y.rightCols(2), x.rightCols(2)));
    RowMatrix<double> dx = dy;
    rope.inverse(dx, 4);
    CHECK(y.cwiseProduct(dy).sum() == Approx(x.cwiseProduct(dx).sum()).epsilon(1e-13));
}

TEST_CASE("positions, frequencies and magnitudes that do not fit are refused before anything turns") {
    RowMatrix<double> x = RowMatrix<double>::Ones(3, 6);
    Rope rope;
    rope.frequencies = {1, 2};
    CHECK_THROWS_MATCHES(rope(x), std::invalid_argument, says("rope: 2 frequencies for 3 pairs of features"));
    rope.frequencies.clear();
    rope.positions = RowMatrix<double>::Ones(4, 2);
    CHECK_THROWS_MATCHES(rope(x), std::invalid_argument,
                         says("rope: positions on 2 axes must share the 3 pairs of features evenly"));
    rope.positions = RowMatrix<double>::Ones(4, 1);
    CHECK_THROWS_MATCHES(rope(x, 2), std::invalid_argument,
                         says("rope: positions (4x1) must have rows for tokens 2 to 4"));
    CHECK_THROWS_MATCHES(rope(x, -1), std::invalid_argument,
                         says("rope: positions (4x1) must have rows for tokens -1 to 1"));
    CHECK_THROWS_MATCHES(rope(x, Eigen::VectorXd::Ones(4)), std::invalid_argument,
                         says("rope: positions (4x1) must have a row for each of the 3 rows of x"));
    CHECK_THROWS_MATCHES(rope(x, RowMatrix<double>::Ones(3, 0)), std::invalid_argument,
                         says("rope: positions on 0 axes must share the 3 pairs of features evenly"));
    CHECK_THROWS_MATCHES(Rope{.magnitude = NAN}(x), std::invalid_argument,
                         says("rope: the magnitude must be a number, got nan"));
    CHECK_THROWS_MATCHES(grid_positions(-1, 3), std::invalid_argument,
                         says("grid_positions: rows and columns must be sizes, got -1 and 3"));
    CHECK(x == RowMatrix<double>::Ones(3, 6));
    x.resize(0, 6);
    rope(x, 7);  // no rows, no positions
}

TEST_CASE("a width that is odd or too wide, and tables that do not fit, are refused before anything turns") {
    RowMatrix<double> x = RowMatrix<double>::Ones(3, 6);
    CHECK_THROWS_MATCHES(Rope{.width = 3}(x), std::invalid_argument,
                         says("rope: the width must be even and at most the 6 columns of a head, got 3"));
    CHECK_THROWS_MATCHES(Rope{.width = 8}(x), std::invalid_argument,
                         says("rope: the width must be even and at most the 6 columns of a head, got 8"));
    CHECK_THROWS_MATCHES(Rope{}(heads(x, 2)), std::invalid_argument,
                         says("rope: the width must be even and at most the 3 columns of a head, got 3"));
    const auto table = [](Index rows, Index columns) { return RowMatrix<double>::Zero(rows, columns).eval(); };
    const std::string rest = " must have a row for each of the 3 rows of x, and a column for each pair";
    CHECK_THROWS_MATCHES(rotate(x, table(2, 3), table(2, 3), {}), std::invalid_argument,
                         says("cosines (2x3) and sines (2x3)" + rest));
    CHECK_THROWS_MATCHES(rotate(x, table(3, 2), table(3, 3), {}), std::invalid_argument,
                         says("cosines (3x2) and sines (3x3)" + rest));
    CHECK_THROWS_AS(rotate(x, table(3, 4), table(3, 4), {}), std::invalid_argument);
    CHECK(x == RowMatrix<double>::Ones(3, 6));
}

}  // namespace test_rope

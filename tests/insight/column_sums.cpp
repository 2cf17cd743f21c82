// Column sums against sums in double of the weights that the same call gives, with and without weights of rows.

#include <attend/insight/column_sums.hpp>

#include <cmath>

#include <support/refusal.hpp>

#include "known_weights.hpp"

using namespace attend;
using namespace attend::test;

namespace test_column_sums {
namespace {

template <class T>
void check(const auto& known, ColumnSums<T> sums, const ColumnVector<T>& r) {
    known.show_to({sums});
    REQUIRE(sums.values().rows() == known.heads() * known.sequences());
    REQUIRE(sums.values().cols() == known.keys());
    double worst = 0;
    for (Index head = 0; head < known.heads(); ++head) {
        for (Index s = 0; s < known.sequences(); ++s) {
            for (Index key = 0; key < known.keys(); ++key) {
                double exact = 0, sum = 0;
                for (Index row = known.first_row(s); row < known.end_row(s); ++row) {
                    const double term = known.weight(head, row, key) * static_cast<double>(r[row]);
                    exact += term, sum += std::abs(term);
                }
                const double error =
                    std::abs(static_cast<double>(sums.values()(head * known.sequences() + s, key)) - exact);
                // Of a term two products, and sums over the rows in no more steps than there are rows.
                const auto rows = static_cast<double>(known.end_row(s) - known.first_row(s));
                worst = std::max(worst, sum == 0 ? error * 1e300 : error / ((3 + rows) * rounding_of<T> * sum));
            }
        }
    }
    CHECK(worst <= 1);
}

}  // namespace

TEMPLATE_TEST_CASE("a column sum is that of its weights", "", float, double) {
    for_each_known<TestType>([](const auto& known) {
        Random random(5);
        ColumnVector<TestType> r = ColumnVector<TestType>::Ones(known.rows());
        check(known, column_sums<TestType>(), r);
        r = random_matrix<TestType>(random, known.rows(), 1);
        check(known, column_sums<TestType>(r), r);
        r.head(known.rows() / 2).setZero();  // whole blocks that need not be looked at
        check(known, column_sums<TestType>(r), r);
    });
}

TEST_CASE("the mean of a sequence's column sums is over its heads") {
    const KnownWeights<double, ScaledDotProductAttention> known(scaled_dot_product, insight_layouts()[5]);
    auto sums = column_sums<double>();
    known.show_to({sums});
    for (Index s = 0; s < 2; ++s)
        CHECK(distance(sums.mean(s), (sums.values().row(s) + sums.values().row(2 + s)) / 2) < 1e-13);
}

TEST_CASE("weights that are not of the rows are refused in words, before anything is written") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 5}, 1);
    RowMatrix<double> out = RowMatrix<double>::Constant(4, 2, 7.0);
    auto sums = column_sums<double>(ColumnVector<double>::Ones(3));
    CHECK(refusal([&] { dot_product(x.q, x.k, x.v, out, {.insight = sums}); }) ==
          "column_sums: 3 weights of rows are given, but q has 4 rows");
    CHECK((out.array() == 7).all());
}

}  // namespace test_column_sums

#include <attend/score/dot.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/scores.hpp>

using namespace attend;
using namespace attend::test;

namespace test_dot {

TEST_CASE("the dot score is q · k") {
    Random random(1);
    const auto q = random_matrix<double>(random, 4, 5), k = random_matrix<double>(random, 3, 5);
    CHECK(distance(scores_of(dot_product, q, k), q * k.transpose()) < 1e-15);
}

TEST_CASE("the dot score of small integers is exact") {
    const RowMatrix<double> q{{1, 2}}, k{{1, 2}, {3, 4}, {5, 6}};
    CHECK(scores_of(dot_product, q, k) == RowMatrix<double>{{5, 11, 17}});
}

}  // namespace test_dot

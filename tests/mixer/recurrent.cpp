#include <attend/mixer/recurrent.hpp>

#include <mixer/running_mean.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_recurrent {

TEST_CASE("a recurrent mixer of self-attention gives each row the mean of those so far") {
    Random random(1);
    const auto x = random_matrix<double>(random, 5, 3);
    RowMatrix<double> out;
    recurrent(RunningMean{.decay = 0.25})(x, x, x, out);
    const double r = 1 / (1 + std::exp(-0.25));
    RowMatrix<double> expected = RowMatrix<double>::Zero(5, 3);
    for (Index i = 0; i < 5; ++i) {
        double weights = 0;
        for (Index j = 0; j <= i; ++j) {
            const double w = std::pow(r, i - j);
            weights += w;
            expected.row(i) += w * x.row(j);
        }
        expected.row(i) /= weights;
    }
    CHECK(distance(out, expected) <= 1e-14);
}

}  // namespace test_recurrent

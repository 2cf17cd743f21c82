// Rows of features, their lengths and their norms, wherever they stand.

#include <attend/core/row_norm.hpp>

#include <cmath>
#include <limits>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_row_norm {

using attend::detail::feature_row;
using attend::detail::FeatureRow;

TEST_CASE("a row has the same bits whatever its strides and storage order") {
    Random random(1);
    const RowMatrix<float> x = random_matrix<float>(random, 3, 37), gain = random_matrix<float>(random, 1, 37);
    const Eigen::MatrixXf columns = x;
    RowMatrix<float> y(3, 37);
    Eigen::MatrixXf z(3, 37);
    const RmsNorm norm{.epsilon = 0.01};
    const FeatureRow<float, const float> gains{gain.data()};
    for (Index i = 0; i < 3; ++i) {
        norm.row(feature_row<float>(x, i), feature_row<float>(y, i), 37, gains);
        norm.row(feature_row<float>(columns, i), feature_row<float>(z, i), 37, gains);
    }
    CHECK(same_bits(y, z));
    RowMatrix<float> in_place = x;
    norm.row(feature_row<float>(in_place, 1), feature_row<float>(in_place, 1), 37, gains);
    CHECK(same_bits(in_place.row(1), y.row(1)));
    CHECK(same_bits(in_place.row(2), x.row(2)));
}

TEMPLATE_TEST_CASE("lengths hold over the whole range of the scalar", "", float, double) {
    constexpr TestType most = std::numeric_limits<TestType>::max();
    for (const TestType size :
         {TestType(1e-30), TestType(1), TestType(1e30), most / 8, std::numeric_limits<TestType>::min()}) {
        const Eigen::Matrix<TestType, 1, 5> x(3 * size, 0, -4 * size, 0, 0);
        const FeatureRow<TestType, const TestType> row{x.data()};
        const TestType length =
            attend::detail::row_length<TestType>(5, [&](Index a, Index n) { return row.load(a, n); });
        CHECK(length == Approx(5 * size).epsilon(4 * std::numeric_limits<TestType>::epsilon()));
    }
}

TEST_CASE("16-bit rows are normed in float and rounded once") {
    Random random(2);
    const RowMatrix<Eigen::half> x = random_matrix<double>(random, 1, 19).cast<Eigen::half>(),
                                 gain = random_matrix<double>(random, 1, 19).cast<Eigen::half>();
    const RowMatrix<float> x_float = x.cast<float>(), gain_float = gain.cast<float>();
    RowMatrix<Eigen::half> y(1, 19);
    RowMatrix<float> y_float(1, 19);
    RmsNorm{}.row(feature_row<float>(x, 0), feature_row<float>(y, 0), 19, feature_row<float>(gain, 0));
    RmsNorm{}.row(feature_row<float>(x_float, 0), feature_row<float>(y_float, 0), 19,
                  feature_row<float>(gain_float, 0));
    CHECK(same_bits(y, y_float.cast<Eigen::half>()));
}

}  // namespace test_row_norm

#include <attend/engine/row_products.hpp>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_row_products {
namespace {

/// The largest |got − right| as a share of half the distance between the 16-bit numbers beside the right one.
template <class X>
double error_of(Index rows, Index features, Index columns) {
    Random random(1);
    const auto x = random_matrix<float>(random, rows, features),
               weight = random_matrix<float>(random, features, columns);
    const Eigen::MatrixXd start = Eigen::MatrixXd::Constant(rows, columns, 40);
    Eigen::Matrix<X, Eigen::Dynamic, Eigen::Dynamic> out = start.cast<X>();
    detail::add_row_products<float>(x, weight, out);
    const Eigen::MatrixXd right = start + x.cast<double>() * weight.cast<double>();
    const double digits = std::is_same_v<X, Eigen::half> ? 11 : 8;
    double worst = 0;
    for (Index i = 0; i < right.size(); ++i) {
        const double r = right.data()[i], last = std::exp2(std::floor(std::log2(std::abs(r))) + 1 - digits);
        worst = std::max(worst, std::abs(static_cast<double>(out.data()[i]) - r) / (last / 2));
    }
    return worst;
}

}  // namespace

TEST_CASE("a row of 16 bits is rounded once, however many features it sums") {
    for (const Index features : {129, 300, 700}) {
        for (const Index rows : {1, 7, 50}) {
            CHECK(error_of<Eigen::half>(rows, features, 70) < 1.02);
            CHECK(error_of<Eigen::bfloat16>(rows, features, 70) < 1.02);
        }
    }
}

TEST_CASE("a row's bits do not depend on the rows beside it") {
    Random random(1);
    const auto x = random_matrix<float>(random, 50, 300), weight = random_matrix<float>(random, 300, 70);
    Eigen::MatrixXf all = Eigen::MatrixXf::Zero(50, 70), one = Eigen::MatrixXf::Zero(1, 70);
    detail::add_row_products<float>(x, weight, all);
    detail::add_row_products<float>(x.middleRows(17, 1), weight, one);
    CHECK(all.row(17) == one.row(0));
}

}  // namespace test_row_products

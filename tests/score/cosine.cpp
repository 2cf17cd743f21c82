#include <attend/score/cosine.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/scores.hpp>

using namespace attend;
using namespace attend::test;

namespace test_cosine {

TEST_CASE("the cosine score is scale · q · k / (|q| |k|)") {
    Random random(1);
    const auto q = random_matrix<double>(random, 4, 5), k = random_matrix<double>(random, 3, 5);
    const RowMatrix<double> cosines = q.rowwise().normalized() * k.rowwise().normalized().transpose();
    CHECK(distance(scores_of(cosine(10.0), q, k), 10.0 * cosines) < 1e-14);
    CHECK(distance(scores_of(CosineAttention(), q, k), cosines) < 1e-15);
    CHECK(distance(scores_of(cosine(2.5), q, q).diagonal(), Eigen::Vector4d::Constant(2.5)) < 1e-15);
}

TEST_CASE("lengths do not matter to the cosine, however large or small") {
    Random random(2);
    const auto q = random_matrix<float>(random, 4, 5), k = random_matrix<float>(random, 3, 5);
    const auto scores = scores_of(cosine(4.0), q, k);
    for (const float length : {0x1p-20f, 0x1p20f, 0x1p100f}) {
        CHECK(distance(scores_of(cosine(4.0), RowMatrix<float>(length * q), k), scores) < 1e-6);
        CHECK(distance(scores_of(cosine(4.0), q, RowMatrix<float>(length * k)), scores) < 1e-6);
    }
}

TEST_CASE("a vector of length 0 has cosine 0 and gradient 0") {
    Operands<double> x = random_operands({.queries = 3, .keys = 4}, 3);
    x.q.row(1).setZero();
    x.k.row(2).setZero();
    const auto scores = scores_of(cosine(4.0), x.q, x.k);
    CHECK((scores.row(1).array() == 0).all());
    CHECK((scores.col(2).array() == 0).all());
    const auto d = backward(cosine(4.0), x);
    CHECK((d.dq.row(1).array() == 0).all());
    CHECK((d.dk.row(2).array() == 0).all());
    CHECK((d.dq.row(0).array() != 0).all());
}

TEST_CASE("the gradient of a vector is orthogonal to it, as its length does not matter") {
    const Operands<double> x = random_operands({.queries = 5, .keys = 6}, 4);
    const auto d = backward(cosine(3.0), x);
    CHECK(d.dq.cwiseProduct(x.q).rowwise().sum().cwiseAbs().maxCoeff() < 1e-14);
    CHECK(d.dk.cwiseProduct(x.k).rowwise().sum().cwiseAbs().maxCoeff() < 1e-14);
}

}  // namespace test_cosine

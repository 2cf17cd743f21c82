#include <attend/score/lambda.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/scores.hpp>

using namespace attend;
using namespace attend::test;

namespace test_lambda {

TEST_CASE("a formula of two features is summed over them") {
    Random random(1);
    const auto q = random_matrix<double>(random, 4, 5), k = random_matrix<double>(random, 3, 5);
    const auto manhattan = score([](auto a, auto b) { return -abs(a - b); });
    const auto scores = scores_of(manhattan, q, k);
    for (Index i = 0; i < 4; ++i) {
        for (Index j = 0; j < 3; ++j) CHECK(scores(i, j) == Approx(-(q.row(i) - k.row(j)).lpNorm<1>()).epsilon(1e-14));
    }
}

TEST_CASE("the product of features is the dot score, in value and in gradients") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 5, .heads = 2, .kv_heads = 1}, 2);
    const auto product = score([](auto q, auto k) { return q * k; });
    CHECK(distance(forward(product, x).out, forward(dot_product, x).out) < 1e-14);
    const auto d = backward(product, x);
    const auto expected = backward(dot_product, x);
    CHECK(distance(d.dq, expected.dq) < 1e-14);
    CHECK(distance(d.dk, expected.dk) < 1e-14);
    CHECK(distance(d.dv, expected.dv) < 1e-14);
}

TEST_CASE("minus half the squared distance weighs like the dot score of keys of one length") {
    Operands<double> x = random_operands({.queries = 4, .keys = 5}, 3);
    x.k.rowwise().normalize();
    const auto near = score([](auto q, auto k) { return -0.5 * (q - k) * (q - k); });
    CHECK(distance(forward(near, x).weights, forward(dot_product, x).weights) < 1e-14);
}

}  // namespace test_lambda

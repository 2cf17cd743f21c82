#include <attend/modifier/bias.hpp>

#include <array>
#include <numeric>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_bias {

TEST_CASE("a bias is added by row and key, not by absolute position") {
    const auto biased = bias(Eigen::MatrixXd{{1, 2, 3}, {4, 5, 6}});
    CHECK(biased(10.0, Position{.query = 100, .key = 2, .row = 1}) == 16.0);
    CHECK(biased(10.0, Position{.query = 0, .key = 0, .row = 0, .head = 5}) == 11.0);
}

TEST_CASE("a bias of several heads holds a block of rows a head") {
    const auto biased = bias(Eigen::MatrixXd{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}}, 2);
    CHECK(biased(0.0, Position{.key = 1, .row = 1, .head = 0}) == 5.0);
    CHECK(biased(0.0, Position{.key = 1, .row = 1, .head = 1}) == 11.0);
}

TEST_CASE("a bias is what a score would be: over a score of 0, its softmax is the weights") {
    Random random(1);
    const auto values = random_matrix<double>(random, 4, 6);
    Operands<double> x = random_operands({.queries = 4, .keys = 6}, 2);
    x.q.setZero();
    CHECK(distance(forward(dot_product >> bias(values), x).weights, softmax(values)) < 1e-15);
}

TEST_CASE("a view of foreign memory is read through its strides, a size of 1 serving all") {
    std::array<double, 120> memory;
    std::iota(memory.begin(), memory.end(), 0.0);
    const Position p{.query = 50, .key = 3, .row = 2, .head = 1, .kv_head = 0, .sequence = 1};
    CHECK(bias(strided(memory.data(), {2, 3, 4, 5}, {60, 20, 5, 1}))(0.0, p) == 60 + 20 + 10 + 3);
    CHECK(bias(strided(memory.data(), {2, 3, 4, 5}, {60, 20, 1, 4}))(0.0, p) == 60 + 20 + 2 + 12);
    CHECK(bias(strided(memory.data(), {1, 3, 4, 5}, {60, 20, 5, 1}))(0.0, p) == 20 + 10 + 3);
    CHECK(bias(strided(memory.data(), {2, 1, 4, 5}, {60, 20, 5, 1}))(0.0, p) == 60 + 10 + 3);
    CHECK(bias(strided(memory.data(), {2, 3, 1, 5}, {60, 20, 5, 1}))(0.0, p) == 60 + 20 + 3);
    CHECK(bias(strided(memory.data(), {2, 3, 4, 1}, {60, 20, 5, 1}))(0.0, p) == 60 + 20 + 10);
    memory[83] = -1.0;
    const std::array<double, 120>& read_only = memory;
    CHECK(bias(strided(read_only.data(), {2, 3, 4, 5}, {60, 20, 5, 1}))(
              0.0, Position{.key = 3, .row = 0, .head = 1, .sequence = 1}) == -1.0);
}

TEST_CASE("shorter sequences use the upper left corner of a bias") {
    Random random(3);
    const auto values = random_matrix<double>(random, 3, 4);
    Operands<double> x =
        random_operands({.queries = 4, .keys = 6, .sequences = {0, 1, 4}, .key_sequences = {0, 2, 6}}, 4);
    x.q.setZero();
    const auto y = forward(dot_product >> bias(values), x);
    CHECK(distance(y.weights.row(0).leftCols(2), softmax(values.topLeftCorner(1, 2).eval())) < 1e-15);
    CHECK(distance(y.weights.bottomRows(3), softmax(values)) < 1e-15);
}

}  // namespace test_bias

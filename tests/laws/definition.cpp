// A call does what its parts say: weights, LSE, output and gradients of small cases, written out.

#include <attend/attend.hpp>

#include <cmath>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

namespace test_definition {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("a composition is what its parts say, pair by pair") {
    const Layout layout{.queries = 6, .keys = 8, .d_q = 4, .d_k = 4, .d_v = 3, .query_offset = 2};
    const Operands<double> x = random_operands(layout, 1);
    const auto y = forward(scaled_dot_product >> soft_cap(1.5) >> alibi(0.25) >> (causal & sliding_window(4)), x);
    const auto expected = plain_attention(layout.queries, x.v, [&](Index i, Index j) {
        const Index query = i + 2;
        if (j > query || query - j >= 4) return -infinity;
        return 1.5 * std::tanh(x.q.row(i).dot(x.k.row(j)) / 2.0 / 1.5) - 0.25 * static_cast<double>(query - j);
    });
    CHECK(distance(y.out, expected.out) < 1e-14);
    CHECK(distance(y.weights, expected.weights) < 1e-14);
    CHECK(distance(y.lse, expected.lse) < 1e-14);
}

TEST_CASE("without modifiers the gradients are those of the matrix formulas") {
    const Operands<double> x = random_operands({.queries = 6, .keys = 8, .d_q = 4, .d_k = 4, .d_v = 3}, 2);
    const auto y = forward(dot_product, x);
    const auto d = backward(dot_product, x);
    const RowMatrix<double> dp = x.dout * x.v.transpose();
    const Eigen::VectorXd delta = y.weights.cwiseProduct(dp).rowwise().sum();
    const RowMatrix<double> ds = y.weights.cwiseProduct(dp.colwise() - delta);
    CHECK(distance(d.dv, y.weights.transpose() * x.dout) < 1e-14);
    CHECK(distance(d.dq, ds * x.k) < 1e-14);
    CHECK(distance(d.dk, ds.transpose() * x.q) < 1e-14);
}

TEST_CASE("weights and LSE are those that make the output") {
    const Layout layout{.queries = 5, .keys = 7, .d_v = 4, .heads = 4, .kv_heads = 2};
    const Operands<double> x = random_operands(layout, 3);
    const auto y = forward(scaled_dot_product >> softmax_with_sink(0.3), x);
    for (Index head = 0; head < 4; ++head) {
        const auto weights = y.weights.middleRows(head * 5, 5);
        CHECK(distance(weights * x.v.middleCols(head / 2 * 4, 4), y.out.middleCols(head * 4, 4)) < 1e-14);
        // What the keys leave of 1 is the sink's share.
        const Eigen::ArrayXd rest = 1 - weights.rowwise().sum().array();
        CHECK(distance(rest, (0.3 - y.lse.col(head).array()).exp()) < 1e-14);
    }
}

TEST_CASE("outputs that are not asked for do not change the others") {
    const Operands<double> x = random_operands({.queries = 5, .keys = 7}, 4);
    const auto attention = scaled_dot_product >> causal;
    const auto y = forward(attention, x);
    RowMatrix<double> lse, weights, out;
    CHECK(same_bits(attention(x.q, x.k, x.v), y.out));
    attention(x.q, x.k, x.v, out, {.lse = lse});
    CHECK(same_bits(lse, y.lse));
    attention(x.q, x.k, x.v, out, {.weights = weights});
    CHECK(same_bits(weights, y.weights));
}

TEST_CASE("a call needs exactly the workspace that it says it needs") {
    const Operands<double> x = random_operands({.queries = 20, .keys = 30, .d_q = 8, .d_k = 8, .d_v = 8}, 5);
    Workspace measured;
    RowMatrix<double> out, again;
    scaled_dot_product(x.q, x.k, x.v, out, {.workspace = &measured});
    const std::size_t need = measured.bytes();
    std::vector<std::byte> memory(need + Workspace::alignment);
    void* start = memory.data();
    std::size_t space = memory.size();
    std::align(Workspace::alignment, need, start, space);
    Workspace enough(std::span(static_cast<std::byte*>(start), need)),
        short_of(std::span(static_cast<std::byte*>(start), need - 1));
    scaled_dot_product(x.q, x.k, x.v, again, {.workspace = &enough});
    CHECK(same_bits(again, out));
    CHECK_THROWS_AS(scaled_dot_product(x.q, x.k, x.v, again, {.workspace = &short_of}), std::length_error);
}

TEST_CASE("memory grows with the tokens, not with the pairs") {
    const auto bytes = [](Index tokens) {
        const Operands<float> x =
            random_operands<float>({.queries = tokens, .keys = tokens, .d_q = 4, .d_k = 4, .d_v = 4}, 6);
        Workspace workspace;
        RowMatrix<float> out;
        scaled_dot_product(x.q, x.k, x.v, out, {.workspace = &workspace});
        return workspace.bytes();
    };
    CHECK(bytes(800) < 2 * bytes(400) + 64);
}

}  // namespace test_definition

// The forward kernel where its ways part: rows whose keys are split and merged, infinite scores, storage orders. What
// it makes of everything else the differential tests compare with the oracle (tests/fuzz).

#include <attend/attend.hpp>

#include <cstddef>
#include <span>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

namespace test_forward {
namespace {

/// Against the definition, in double.
template <class T, class A>
void check(const A& attention, const Layout& layout, double slope, double tolerance) {
    CAPTURE(layout.queries, layout.keys, layout.heads, layout.kv_heads);
    const Operands<T> x = random_operands<T>(layout, 11);
    const Operands<double> exact = x.template cast<double>();
    const auto y = forward(attention, x);
    for (Index h = 0; h < layout.heads; ++h) {
        const Index kv = h * layout.kv_heads / layout.heads;
        const RowMatrix<double> q = exact.q.middleCols(h * layout.d_q, layout.d_q),
                                k = exact.k.middleCols(kv * layout.d_k, layout.d_k),
                                v = exact.v.middleCols(kv * layout.d_v, layout.d_v);
        const auto expected = plain_attention(layout.queries, v, [&](Index i, Index j) {
            const auto distance = static_cast<double>(layout.query_offset + i - j);
            return q.row(i).dot(k.row(j)) / std::sqrt(static_cast<double>(layout.d_q)) - slope * distance;
        });
        CHECK(distance(y.out.middleCols(h * layout.d_v, layout.d_v), expected.out) <= tolerance);
        CHECK(distance(y.lse.col(h), expected.lse) <= tolerance * 8);
        CHECK(distance(y.weights.middleRows(h * layout.queries, layout.queries), expected.weights) <= tolerance);
    }
}

}  // namespace

TEST_CASE("one query over many keys merges chunks into the whole row's result") {
    for (const Index keys : {1024, 1025, 5000}) {
        check<float>(scaled_dot_product,
                     {.queries = 1, .keys = keys, .d_q = 32, .d_k = 32, .d_v = 32, .heads = 8, .kv_heads = 2}, 0, 3e-6);
        check<double>(scaled_dot_product >> alibi(0.01),
                      {.queries = 2, .keys = keys, .d_q = 8, .d_k = 8, .d_v = 8, .query_offset = keys - 2}, 0.01,
                      1e-14);
    }
}

TEST_CASE("a score of +∞ takes all weight, and several share it") {
    Operands<float> x = random_operands<float>({.queries = 3, .keys = 100, .d_q = 1, .d_k = 1, .d_v = 2}, 5);
    x.q.setOnes();
    RowMatrix<float> weights = RowMatrix<float>::Zero(3, 100);
    x.k(70, 0) = std::numeric_limits<float>::infinity();
    weights.col(70).setOnes();
    auto y = forward(dot_product, x);
    CHECK(same_bits(y.out, RowMatrix<float>(x.v.row(70).replicate(3, 1))));
    CHECK((y.lse.array() == std::numeric_limits<float>::infinity()).all());
    CHECK(same_bits(y.weights, weights));

    x.k(20, 0) = x.k(70, 0);
    weights.col(20) = weights.col(70) /= 2;
    y = forward(dot_product, x);
    CHECK(distance(y.out, (x.v.row(20) + x.v.row(70)).replicate(3, 1) / 2) < 1e-7);
    CHECK(same_bits(y.weights, weights));
}

TEST_CASE("weights are 0 for keys that nobody sees and that a shorter sequence has not, whatever stood there") {
    const Operands<double> x = random_operands({.queries = 9, .keys = 300, .d_q = 4, .d_k = 4, .d_v = 2}, 7);
    const auto attention = scaled_dot_product >> prefix(70);
    RowMatrix<double> out, weights = RowMatrix<double>::Constant(9, 200, std::numeric_limits<double>::quiet_NaN());
    attention(x.q, x.k, x.v, out,
              {.weights = weights, .sequences = sequences({0, 6, 9}), .key_sequences = sequences({0, 200, 300})});
    CHECK((weights.leftCols(70).array() > 0).all());
    CHECK((weights.rightCols(130).array() == 0).all());

    RowMatrix<double> wide = RowMatrix<double>::Constant(9, 200, std::numeric_limits<double>::quiet_NaN());
    scaled_dot_product(x.q, x.k, x.v, out,
                       {.weights = wide, .sequences = sequences({0, 6, 9}), .key_sequences = sequences({0, 200, 300})});
    CHECK((wide.topRows(6).array() > 0).all());
    CHECK((wide.bottomRows(3).leftCols(100).array() > 0).all());
    CHECK((wide.bottomRows(3).rightCols(100).array() == 0).all());
}

TEST_CASE("storage order does not change a bit") {
    const Operands<float> x = random_operands<float>({.queries = 70, .keys = 150, .d_q = 24, .d_k = 24, .d_v = 24}, 6);
    const Eigen::MatrixXf q = x.q, k = x.k, v = x.v;
    Eigen::MatrixXf out;
    (scaled_dot_product >> causal)(q, k, v, out);
    CHECK(same_bits(RowMatrix<float>(out), forward(scaled_dot_product >> causal, x).out));
}

TEST_CASE("a worker's cursor goes along a ragged batch: after a call it stands at the last sequence") {
    using attend::detail::PlanCursor;
    const RowMatrix<float> x = RowMatrix<float>::Ones(12, 4);
    RowMatrix<float> out;
    alignas(Workspace::alignment) static std::byte memory[1 << 20];
    Workspace workspace{std::span(memory)};
    scaled_dot_product(x, x, x, out, {.workspace = &workspace, .sequences = sequences({0, 3, 6, 9, 12})});
    const PlanCursor cursor = *attend::detail::Arena(memory).take<PlanCursor>(1);  // where fused::Layout has it
    CHECK((cursor.sequence == 3 && cursor.tasks == 3));
}

}  // namespace test_forward

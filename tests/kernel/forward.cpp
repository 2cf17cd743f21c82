// The forward kernel where its ways part: rows whose keys are split and merged, infinite scores, storage orders. What
// it makes of everything else the differential tests compare with the oracle (tests/fuzz).

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

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

TEST_CASE("a score of +∞ takes all weight") {
    Operands<float> x = random_operands<float>({.queries = 3, .keys = 100, .d_q = 1, .d_k = 1, .d_v = 2}, 5);
    x.q.setOnes();
    x.k(70, 0) = std::numeric_limits<float>::infinity();
    const auto y = forward(dot_product, x);
    CHECK(same_bits(y.out, RowMatrix<float>(x.v.row(70).replicate(3, 1))));
    CHECK((y.lse.array() == std::numeric_limits<float>::infinity()).all());
}

TEST_CASE("storage order does not change a bit") {
    const Operands<float> x = random_operands<float>({.queries = 70, .keys = 150, .d_q = 24, .d_k = 24, .d_v = 24}, 6);
    const Eigen::MatrixXf q = x.q, k = x.k, v = x.v;
    Eigen::MatrixXf out;
    (scaled_dot_product >> causal)(q, k, v, out);
    CHECK(same_bits(RowMatrix<float>(out), forward(scaled_dot_product >> causal, x).out));
}

// The fused kernel against the reference: every family of scores and normalizers, over the remainders of lanes, tiles
// and chunks.

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/remainders.hpp>

using namespace attend;
using namespace attend::test;

namespace {

/// A call without weights is fused, one with weights is the reference's.
template <class T, class A>
void check_fused(const A& attention, const Layout& layout, double tolerance) {
    CAPTURE(layout.queries, layout.keys, layout.heads, layout.kv_heads);
    const Operands<T> x = random_operands<T>(layout, 11);
    const auto y = forward(attention, x);
    RowMatrix<T> out, weights;
    RowMatrix<T> lse;
    attention(x.query_heads(), x.key_heads(), x.value_heads(), out,
              {.lse = lse, .weights = weights, .query_offset = layout.query_offset});
    CHECK(distance(y.out, out) <= tolerance * magnitude(out));
    CHECK(distance(y.lse, lse) <= tolerance * 8);
}

template <class A>
void check_shapes(const A& attention, Index d) {
    for_each_remainder(d, {1, 3, 17, 70, 131}, {1, 9, 64, 65, 200}, [&](const Layout& layout) {
        check_fused<float>(attention, layout, 3e-6);
        check_fused<double>(attention, layout, 1e-14);
    });
}

}  // namespace

TEST_CASE("fused softmax attention is the reference's") {
    check_shapes(scaled_dot_product, 19);
    check_shapes(scaled_dot_product >> alibi(alibi_slopes(2)) >> soft_cap(4.0) >> (causal & sliding_window(40)) >>
                     softmax_with_sink(0.3),
                 8);
}

TEST_CASE("fused scores that map queries and keys are the reference's") {
    check_shapes(AdditiveAttention<double>(7, 7, 10, 3) >> causal, 7);
    check_shapes(cosine(4.0) >> ~sliding_window(3), 7);
    check_shapes(GeneralAttention<double>(6, 6, 3), 6);
}

TEST_CASE("fused sparse and sigmoid attention is the reference's") {
    check_shapes(scaled_dot_product >> causal >> sparsemax, 5);
    check_shapes(scaled_dot_product >> top_k(4), 5);
    check_shapes(scaled_dot_product >> causal >> sigmoid(-2.0), 5);
}

TEST_CASE("one query over many keys merges chunks into the reference's result") {
    for (const Index keys : {1024, 1025, 5000}) {
        check_fused<float>(scaled_dot_product,
                           {.queries = 1, .keys = keys, .d_q = 32, .d_k = 32, .d_v = 32, .heads = 8, .kv_heads = 2},
                           3e-6);
        check_fused<double>(scaled_dot_product >> alibi(0.01) >> causal,
                            {.queries = 2, .keys = keys, .d_q = 8, .d_k = 8, .d_v = 8, .query_offset = keys - 2},
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

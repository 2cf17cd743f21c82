// Small calls are made directly, to the same bits as the fused kernel makes of the same sequence in a call that it has
// to serve: one for the weights, or of a ragged batch.

#include <attend/attend.hpp>

#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_direct {
namespace {

template <class T, class A>
void check(const A& attention, const Layout& layout) {
    const Operands<T> x = random_operands<T>(layout, 1);
    const Outputs<T> y = forward(attention, x);  // with the weights
    RowMatrix<T> out, lse;
    attention(x.query_heads(), x.key_heads(), x.value_heads(), out, {.lse = lse, .query_offset = layout.query_offset});
    CHECK(same_bits(out, y.out));
    CHECK(same_bits(lse, y.lse));

    const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> q = x.q, k = x.k, v = x.v;
    auto out_by_columns = q;
    out_by_columns.resize(q.rows(), y.out.cols());
    attention(heads(q, layout.heads), heads(k, layout.kv_heads), heads(v, layout.kv_heads),
              heads(out_by_columns, layout.heads), {.query_offset = layout.query_offset});
    CHECK(same_bits(out_by_columns, y.out));

    // Beside another sequence of a ragged batch.
    Operands<T> two = x;
    two.q.conservativeResize(layout.queries + 3, Eigen::NoChange);
    two.k.conservativeResize(layout.keys + 5, Eigen::NoChange);
    two.v.conservativeResize(layout.keys + 5, Eigen::NoChange);
    two.q.bottomRows(3).setConstant(T(0.5));
    two.k.bottomRows(5).setConstant(T(0.5));
    two.v.bottomRows(5).setConstant(T(0.5));
    const Index beside = layout.queries, keys_beside = layout.keys;
    RowMatrix<T> both;
    attention(two.query_heads(), two.key_heads(), two.value_heads(), both,
              {.query_offset = layout.query_offset,
               .sequences = sequences({0, beside, beside + 3}),
               .key_sequences = sequences({0, keys_beside, keys_beside + 5})});
    CHECK(same_bits(both.topRows(layout.queries), y.out));
}

template <class T>
void check_all(const Layout& layout) {
    CAPTURE(layout.queries, layout.keys, layout.d_q, layout.d_v, layout.heads, layout.kv_heads);
    check<T>(dot_product, layout);
    check<T>(scaled_dot_product >> causal, layout);
    check<T>(scaled_dot_product >> alibi(0.125) >> (prefix(3) | sliding_window(2)) >> softmax_with_sink(0.25), layout);
}

}  // namespace

TEMPLATE_TEST_CASE("small calls have the bits of the fused kernel", "", float, double) {
    for (const Index queries : {1, 2, 3, 4, 5, 8, 9}) {
        for (const Index keys : {1, 3, 16, 17, 33, 64, 65}) {
            for (const Index width : {1, 5, 16, 64, 65})
                check_all<TestType>({.queries = queries,
                                     .keys = keys,
                                     .d_q = width,
                                     .d_k = width,
                                     .d_v = width % 7 + 1,
                                     .heads = 3,
                                     .kv_heads = 1,
                                     .query_offset = keys / 2});
        }
    }
    check_all<TestType>({.queries = 2, .keys = 5, .d_q = 8, .d_k = 8, .d_v = 64, .heads = 4, .kv_heads = 2});
}

TEST_CASE("small calls keep what is not finite from who does not see it") {
    RowMatrix<float> q = RowMatrix<float>::Ones(2, 4), k = q, v = q, out(2, 4);
    v(1, 2) = std::numeric_limits<float>::quiet_NaN(), k(1, 0) = std::numeric_limits<float>::infinity();
    (scaled_dot_product >> causal)(q, k, v, out);
    CHECK(out.row(0) == v.row(0));
    CHECK(std::isnan(out(1, 2)));
}

}  // namespace test_direct

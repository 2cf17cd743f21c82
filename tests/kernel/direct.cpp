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

template <class T, int queries, int keys, int d_q, int d_v>
void check_fixed() {
    CAPTURE(queries, keys, d_q, d_v);
    const Operands<T> x = random_operands<T>({.queries = queries, .keys = keys, .d_q = d_q, .d_k = d_q, .d_v = d_v}, 1);
    const auto of = [&]<int order>(const auto& attention, std::integral_constant<int, order>) {
        constexpr auto storage = [](int rows, int columns) {
            return rows == 1 ? Eigen::RowMajor : columns == 1 ? Eigen::ColMajor : order;
        };
        const Eigen::Matrix<T, queries, d_q, storage(queries, d_q)> q = x.q;
        const Eigen::Matrix<T, keys, d_q, storage(keys, d_q)> k = x.k;
        const Eigen::Matrix<T, keys, d_v, storage(keys, d_v)> v = x.v;
        Eigen::Matrix<T, queries, d_v, storage(queries, d_v)> out, again;
        Eigen::Matrix<T, queries, 1> lse;
        const Outputs<T> y = forward(attention, x);  // with the weights
        attention(q, k, v, out);
        CHECK(same_bits(out, y.out));
        attention(q, k, v, again, {.lse = lse});
        CHECK(same_bits(again, y.out));
        CHECK(same_bits(lse, y.lse));
        CHECK(same_bits(attention(q, k, v), y.out));
        RowMatrix<T> dynamic = RowMatrix<T>::Zero(queries, d_v);
        attention(x.q, x.k, x.v, dynamic);
        CHECK(same_bits(dynamic, y.out));
    };
    const auto both = [&](const auto& attention) {
        of(attention, std::integral_constant<int, Eigen::RowMajor>());
        of(attention, std::integral_constant<int, Eigen::ColMajor>());
    };
    both(scaled_dot_product);
    both(dot_product >> causal >> softmax_with_sink(0.25));
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
    for (const Index queries : {1, 2, 3, 4, 7, 8}) {
        for (const Index keys : {1, 2, 4, 5, 8, 11, 16}) {
            for (const Index width : {1, 2, 3, 8, 15, 33})
                check_all<TestType>({.queries = queries, .keys = keys, .d_q = width, .d_k = width, .d_v = width});
        }
    }
}

TEMPLATE_TEST_CASE("small calls of fixed sizes have the same bits", "", float, double) {
    check_fixed<TestType, 1, 1, 1, 1>();
    check_fixed<TestType, 2, 2, 2, 2>();
    check_fixed<TestType, 4, 4, 8, 8>();
    check_fixed<TestType, 3, 5, 7, 2>();
    check_fixed<TestType, 8, 8, 16, 20>();
    check_fixed<TestType, 1, 16, 3, 1>();
    check_fixed<TestType, 16, 16, 4, 4>();  // of the kernel
}

TEST_CASE("small calls on a source have the same bits") {
    for (const Index tokens : {3, 9, 24}) {
        RingCache<float> ring({.heads = 2, .d_k = 6, .d_v = 5, .keys = 7, .sinks = 1});
        const Operands<float> x = random_operands<float>(
            {.queries = 2, .keys = tokens, .d_q = 6, .d_k = 6, .d_v = 5, .heads = 4, .kv_heads = 2}, 1);
        for (Index i = 0; i < tokens; ++i) ring.append(x.k.row(i), x.v.row(i));
        const auto check = [&](const auto& attention) {
            RowMatrix<float> out, expected, lse, expected_lse, weights;
            attention(x.query_heads(), ring, out, {.lse = lse});
            attention(x.query_heads(), ring, expected, {.lse = expected_lse, .weights = weights});
            CHECK(same_bits(out, expected));
            CHECK(same_bits(lse, expected_lse));
        };
        check(scaled_dot_product);
        check(scaled_dot_product >> causal);
        check(scaled_dot_product >> alibi(0.125) >> sliding_window(4));
    }
}

TEST_CASE("small calls keep what is not finite from who does not see it") {
    RowMatrix<float> q = RowMatrix<float>::Ones(2, 4), k = q, v = q, out(2, 4);
    v(1, 2) = std::numeric_limits<float>::quiet_NaN(), k(1, 0) = std::numeric_limits<float>::infinity();
    (scaled_dot_product >> causal)(q, k, v, out);
    CHECK(out.row(0) == v.row(0));
    CHECK(std::isnan(out(1, 2)));
}

/// Says yes by any number but 0, as the concept of a mask allows.
struct CountsDivisors {
    static constexpr Kind kind = Kind::mask;
    int operator()(const Position& p) const { return p.key % 2 == 0 ? 2 : 0; }
};

TEST_CASE("masks whose yes is a number hide in small calls what they hide in others") {
    const Operands<float> x = random_operands<float>({.queries = 2, .keys = 4, .d_q = 3, .d_k = 3, .d_v = 2}, 9);
    const auto attention = scaled_dot_product >> CountsDivisors{};
    RowMatrix<float> out, expected, weights;
    attention(x.q, x.k, x.v, out), attention(x.q, x.k, x.v, expected, {.weights = weights});
    CHECK(same_bits(out, expected));
    CHECK((weights.col(1).array() == 0).all());
}

}  // namespace test_direct

// Many heads in one call are as many calls: query head h reads key/value head h / group, bit for bit.

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_heads {
namespace {

// Odd widths: the heads of one matrix start at every alignment.
const Layout grouped{
    .queries = 5, .keys = 7, .d_q = 5, .d_k = 5, .d_v = 3, .heads = 6, .kv_heads = 2, .query_offset = 2};
constexpr Index group = 3;

template <class T>
Operands<T> of_head(const Operands<T>& x, Index head) {
    const Layout& l = x.layout;
    Operands<T> one{.layout = {.queries = l.queries,
                               .keys = l.keys,
                               .d_q = l.d_q,
                               .d_k = l.d_k,
                               .d_v = l.d_v,
                               .query_offset = l.query_offset}};
    one.q = x.q.middleCols(head * l.d_q, l.d_q);
    one.k = x.k.middleCols(head / group * l.d_k, l.d_k);
    one.v = x.v.middleCols(head / group * l.d_v, l.d_v);
    one.dout = x.dout.middleCols(head * l.d_v, l.d_v);
    return one;
}

/// `single(h)` is the attention of head h alone.
template <class A, class Single>
void check_heads_are_calls(const A& attention, const Single& single) {
    const Operands<float> x = random_operands<float>(grouped, 1);
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    RowMatrix<float> dk = RowMatrix<float>::Zero(x.k.rows(), x.k.cols()),
                     dv = RowMatrix<float>::Zero(x.v.rows(), x.v.cols());
    for (Index head = 0; head < grouped.heads; ++head) {
        CAPTURE(head);
        const Operands<float> one = of_head(x, head);
        const auto y_one = forward(single(head), one);
        const auto d_one = backward(single(head), one);
        CHECK(same_bits(y.out.middleCols(head * grouped.d_v, grouped.d_v), y_one.out));
        CHECK(same_bits(y.lse.col(head), y_one.lse));
        CHECK(same_bits(y.weights.middleRows(head * grouped.queries, grouped.queries), y_one.weights));
        CHECK(same_bits(d.dq.middleCols(head * grouped.d_q, grouped.d_q), d_one.dq));
        dk.middleCols(head / group * grouped.d_k, grouped.d_k) += d_one.dk;
        dv.middleCols(head / group * grouped.d_v, grouped.d_v) += d_one.dv;
    }
    CHECK(distance(d.dk, dk) < 1e-6 * magnitude(dk));  // the group's sum, in another order
    CHECK(distance(d.dv, dv) < 1e-6 * magnitude(dv));
}

template <class A>
void check_heads_are_calls(const A& attention) {
    check_heads_are_calls(attention, [&](Index) { return attention; });
}

}  // namespace

// Every part stands in one composition at least, and few are enough for all: each takes seconds to compile.

TEST_CASE("heads are calls of their own, for every score") {
    check_heads_are_calls(dot_product >> alibi(0.1) >> causal);
    check_heads_are_calls(GeneralAttention<float>(5, 5, 2));
    check_heads_are_calls(AdditiveAttention<float>(5, 5, 4, 3));
}

TEST_CASE("a parameter a head is that head's own") {
    const Eigen::VectorXd values = Eigen::VectorXd::LinSpaced(6, -0.4, 0.6);
    const Eigen::MatrixXd biases = values.replicate(1, 35).reshaped<Eigen::RowMajor>(30, 7),
                          table = values.transpose().replicate(8, 1);
    const RelativeBuckets buckets{.buckets = 8, .max_distance = 9};
    // Those of the heads from `first` on.
    const auto modified = [&](Index first, Index count) {
        const Eigen::VectorXd own = values.segment(first, count), spans = own.array() + 2.0;
        return scaled_dot_product >> alibi(own) >> bias(biases.middleRows(5 * first, 5 * count), count) >>
               relative_bias(table.middleCols(first, count), buckets) >> adaptive_span(spans, 3.0) >> causal >>
               softmax_with_sink(own);
    };
    const auto with_sigmoid = [&](Index first, Index count) {
        return cosine(3.0) >> sigmoid(Eigen::VectorXd(values.segment(first, count)));
    };
    check_heads_are_calls(modified(0, 6), [&](Index h) { return modified(h, 1); });
    check_heads_are_calls(with_sigmoid(0, 6), [&](Index h) { return with_sigmoid(h, 1); });
}

TEST_CASE("equal heads are one head") {
    const Layout one_head{.queries = 4, .keys = 6, .d_q = 5, .d_k = 5, .d_v = 3};
    const Operands<float> one = random_operands<float>(one_head, 4);
    Operands<float> equal{.q = one.q.replicate(1, 3),
                          .k = one.k.replicate(1, 3),
                          .v = one.v.replicate(1, 3),
                          .dout = one.dout.replicate(1, 3),
                          .layout = one_head};
    equal.layout.heads = equal.layout.kv_heads = 3;
    const auto attention = dot_product >> alibi(0.1) >> causal;
    const auto y = forward(attention, one), y_equal = forward(attention, equal);
    const auto d = backward(attention, one), d_equal = backward(attention, equal);
    CHECK(same_bits(y_equal.out, y.out.replicate(1, 3)));
    CHECK(same_bits(y_equal.lse, y.lse.replicate(1, 3)));
    CHECK(same_bits(y_equal.weights, y.weights.replicate(3, 1)));
    CHECK(same_bits(d_equal.dq, d.dq.replicate(1, 3)));
    CHECK(same_bits(d_equal.dk, d.dk.replicate(1, 3)));
    CHECK(same_bits(d_equal.dv, d.dv.replicate(1, 3)));
}

TEST_CASE("modifiers and masks see the head and its key/value head") {
    const Operands<float> x = random_operands<float>(grouped, 5);
    const auto kept = mask([](Position p) { return p.key == p.head; });
    const auto marked =
        modifier([](auto s, auto p) { return decltype(s)(0) * s + decltype(s)(10 * p.head + p.kv_head); });
    const auto y = forward(dot_product >> marked >> kept, x);
    for (Index head = 0; head < grouped.heads; ++head) {
        CHECK((y.lse.col(head).array() == static_cast<float>(10 * head + head / group)).all());
    }
}

}  // namespace test_heads

// Gradients of 16-bit operands in float: those in 16 bits are these, rounded once.
#include <limits>

#include <attend/attend.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_gradient_output {
namespace {

template <class X, class A>
void check(const A& attention, const Layout& layout) {
    const Operands<X> x = random_operands<double>(layout, 3).template cast<X>();
    const Outputs<X> y = forward(attention, x);
    const auto backward_into = [&](auto& dq, auto& dk, auto& dv) {
        attention.backward(x.query_heads(), x.key_heads(), x.value_heads(), heads(y.out, layout.heads), y.lse,
                           heads(x.dout, layout.heads), dq, dk, dv,
                           {.sequences = attend::detail::SequencesRef(std::span(layout.sequences)),
                            .key_sequences = attend::detail::SequencesRef(std::span(layout.key_sequences))});
    };
    RowMatrix<X> dq, dk, dv;
    backward_into(dq, dk, dv);
    RowMatrix<float> sum_q, sum_k, sum_v;
    backward_into(sum_q, sum_k, sum_v);
    REQUIRE(sum_q.rows() == x.q.rows());
    const auto rounds_to = [](const RowMatrix<float>& sum, const RowMatrix<X>& rounded) {  // −0 added to 0 is 0
        return sum.cast<X>().template cast<float>() == rounded.template cast<float>();
    };
    CHECK(rounds_to(sum_q, dq));
    CHECK(rounds_to(sum_k, dk));
    CHECK(rounds_to(sum_v, dv));
    CHECK(sum_v != dv.template cast<float>());

    // Columns that follow each other, and what stands there already.
    Eigen::MatrixXf column_q = Eigen::MatrixXf::Ones(sum_q.rows(), sum_q.cols()),
                    column_k = Eigen::MatrixXf::Ones(sum_k.rows(), sum_k.cols()),
                    column_v = Eigen::MatrixXf::Ones(sum_v.rows(), sum_v.cols());
    backward_into(column_q, column_k, column_v);
    const auto added = [](const auto& got, const RowMatrix<float>& sum) {
        return ((got.array() - 1 - sum.array()).abs() <= 0x1p-22f * (1 + sum.array().abs())).all();
    };
    CHECK(added(column_q, sum_q));
    CHECK(added(column_k, sum_k));
    CHECK(added(column_v, sum_v));
}

}  // namespace

TEMPLATE_TEST_CASE("gradients in float are those in 16 bits before their rounding", "", Eigen::half, Eigen::bfloat16) {
    using X = TestType;
    const Layout plain{.queries = 70, .keys = 130, .d_q = 20, .d_k = 20, .d_v = 12};
    const Layout groups{.queries = 37, .keys = 37, .d_q = 16, .d_k = 16, .d_v = 16, .heads = 4, .kv_heads = 2};
    const Layout ragged{.queries = 50,
                        .keys = 40,
                        .d_q = 8,
                        .d_k = 8,
                        .d_v = 9,
                        .sequences = {0, 13, 13, 50},
                        .key_sequences = {0, 30, 35, 40}};
    for (const Layout& layout : {plain, groups, ragged}) {
        check<X>(scaled_dot_product, layout);
        check<X>(dot_product >> alibi(0.1) >> causal, layout);
        check<X>(GeneralAttention<float>(layout.d_q, layout.d_k, 5) >> sparsemax, layout);
        check<X>(AdditiveAttention<X>(layout.d_q, layout.d_k, 7, 5), layout);
    }
}

TEST_CASE("rows that see no key, and NaN that nobody sees, give gradients of 0 in float") {
    using X = Eigen::bfloat16;
    RowMatrix<X> q = RowMatrix<float>::Random(20, 8).cast<X>(), k = q, v = q, dout = q, out;
    k.row(19).setConstant(std::numeric_limits<X>::quiet_NaN());
    const auto attention =
        scaled_dot_product >> mask([](Position p) { return p.query != 3 && p.key != 19 && p.key <= p.query; });
    RowMatrix<float> lse, dq, dk, dv;
    attention(q, k, v, out, {.lse = lse});
    attention.backward(q, k, v, out, lse, dout, dq, dk, dv);
    CHECK((dq.row(3).array() == 0).all());
    CHECK((dk.row(19).array() == 0).all());
    CHECK((dv.row(19).array() == 0).all());
    CHECK(dq.allFinite());
    CHECK(dk.norm() > 0);
}

TEST_CASE("gradients of one call are of one scalar, and have memory of their own") {
    using X = Eigen::bfloat16;
    const RowMatrix<X> q = RowMatrix<float>::Random(6, 4).cast<X>();
    RowMatrix<X> out, dk;
    RowMatrix<float> lse, dq, dv;
    scaled_dot_product(q, q, q, out, {.lse = lse});
    CHECK(refusal([&] { scaled_dot_product.backward(q, q, q, out, lse, q, dq, dk, dv); }) ==
          "dq, dk and dv must all be numbers of 16 bits, as the operands are, or all be float");
    CHECK(refusal([&] { scaled_dot_product.backward(q, q, q, out, lse, q, dq, dq, dv); }).find("dk") !=
          std::string::npos);
    RowMatrix<float> narrow(6, 3);
    CHECK(refusal([&] { scaled_dot_product.backward(q, q, q, out, lse, q, narrow, dq, dv); }) ==
          "dq (6x3) must be 6x4, or empty to be resized");
    Eigen::Map<RowMatrix<float>> over_lse(lse.data(), 6, 1);
    CHECK(refusal([&] { scaled_dot_product.backward(q.leftCols(1), q, q, out, lse, q, over_lse, dq, dv); }) != "");
    CHECK(dq.size() == 0);
}

}  // namespace test_gradient_output

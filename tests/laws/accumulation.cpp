// Law 7: backward resizes empty gradients and otherwise adds into them.

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_accumulation {
namespace {

const Layout layout{.queries = 5, .keys = 6, .heads = 2, .kv_heads = 1};

}  // namespace

TEST_CASE("a second backward doubles every gradient") {
    const AdditiveAttention<double> attention(3, 3, 4, 5);
    const Operands<double> x = random_operands(layout, 1);
    const auto y = forward(attention, x);
    Gradients<double, AdditiveAttention<double>> d{.parameters = zero_gradient(attention)};
    add_gradients(attention, x, y, d);
    const auto once = d;
    add_gradients(attention, x, y, d);
    CHECK(distance(d.dq, 2 * once.dq) < 1e-14);
    CHECK(distance(d.dk, 2 * once.dk) < 1e-14);
    CHECK(distance(d.dv, 2 * once.dv) < 1e-14);
    CHECK(distance(parameters_of(d.parameters), 2 * parameters_of(once.parameters)) < 1e-14);
}

TEST_CASE("backward adds into what stands there") {
    const auto attention = scaled_dot_product >> alibi(0.2) >> causal;
    const Operands<double> x = random_operands(layout, 2);
    const auto d = backward(attention, x);
    const Operands<double> before = random_operands(layout, 3);
    auto sum = d;
    sum.dq = before.q, sum.dk = before.k, sum.dv = before.v;
    visit_parameters(sum.parameters, [](std::string_view, auto& matrix) { matrix.setConstant(7.0); });
    add_gradients(attention, x, forward(attention, x), sum);
    CHECK(distance(sum.dq, before.q + d.dq) < 1e-14);
    CHECK(distance(sum.dk, before.k + d.dk) < 1e-14);
    CHECK(distance(sum.dv, before.v + d.dv) < 1e-14);
    CHECK(distance(parameters_of(sum.parameters), (parameters_of(d.parameters).array() + 7.0).matrix()) < 1e-14);
}

TEST_CASE("gradients go into blocks of other matrices and touch nothing beside them") {
    const Operands<double> x = random_operands(layout, 4);
    const auto y = forward(scaled_dot_product, x);
    const auto d = backward(scaled_dot_product, x);
    Eigen::MatrixXd dq = Eigen::MatrixXd::Zero(9, 10), dkv = Eigen::MatrixXd::Zero(6, 5);
    scaled_dot_product.backward(x.query_heads(), x.key_heads(), x.value_heads(), heads(y.out, 2), y.lse,
                                heads(x.dout, 2), heads(dq.block(2, 3, 5, 6), 2), dkv.leftCols(3), dkv.rightCols(2));
    Eigen::MatrixXd dq_alone = Eigen::MatrixXd::Zero(9, 10), dkv_alone(6, 5);
    dq_alone.block(2, 3, 5, 6) = d.dq;
    dkv_alone << d.dk, d.dv;
    CHECK(same_bits(dq, dq_alone));
    CHECK(same_bits(dkv, dkv_alone));
}

}  // namespace test_accumulation

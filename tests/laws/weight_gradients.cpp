// Law 7: the gradients of a loss that reads the weights themselves, `.dweights`, are exact, whatever makes the weights.

#include <attend/attend.hpp>

#include <cmath>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_weight_gradients {
namespace {

template <class A>
double loss_of(const A& attention, const Operands<double>& x, const RowMatrix<double>& dweights) {
    const auto y = forward(attention, x);
    return y.out.cwiseProduct(x.dout).sum() + y.weights.cwiseProduct(dweights).sum();
}

template <class A>
void check(A attention, Operands<double> x) {
    const Layout& layout = x.layout;
    Random random(9);
    const auto y = forward(attention, x);
    const RowMatrix<double> dweights = random_matrix<double>(random, y.weights.rows(), y.weights.cols(), 2.0);
    Gradients<double, A> d{.parameters = zero_gradient(attention)};
    attention.backward(x.query_heads(), x.key_heads(), x.value_heads(), heads(y.out, layout.heads), y.lse,
                       heads(x.dout, layout.heads), d.dq, d.dk, d.dv,
                       {.gradient = &d.parameters,
                        .dweights = dweights,
                        .query_offset = layout.query_offset,
                        .sequences = attend::detail::SequencesRef(std::span(layout.sequences)),
                        .key_sequences = attend::detail::SequencesRef(std::span(layout.key_sequences)),
                        .dropout = layout.dropout});
    const auto check_slopes = [&](auto& values, const auto& gradient, std::string_view name) {
        for (Index i = 0; i < values.size(); ++i) {
            double& value = values.data()[i];
            const double step = 5e-4, centre = value;
            const auto at = [&](double steps) {
                value = centre + steps * step;
                return loss_of(attention, x, dweights);
            };
            const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
            value = centre;
            CAPTURE(name, i);
            CHECK(std::abs(slope - gradient.data()[i]) <= 1e-8 * (1 + std::abs(slope)));
        }
    };
    check_slopes(x.q, d.dq, "dq"), check_slopes(x.k, d.dk, "dk"), check_slopes(x.v, d.dv, "dv");
    std::vector<Eigen::Map<Eigen::VectorXd>> gradients;
    visit_parameters(d.parameters, [&](std::string_view, auto& m) { gradients.emplace_back(m.data(), m.size()); });
    std::size_t which = 0;
    visit_parameters(attention,
                     [&](std::string_view name, auto& matrix) { check_slopes(matrix, gradients[which++], name); });
}

const Layout grouped{.queries = 4, .keys = 7, .heads = 4, .kv_heads = 2, .query_offset = 3};

}  // namespace

TEST_CASE("a loss in the weights has exact gradients") {
    check(scaled_dot_product >> causal, random_operands(grouped, 1));
    check(dot_product >> bias(RowMatrix<double>(RowMatrix<double>::Random(4, 7))) >> softmax_with_sink(0.4),
          random_operands(grouped, 2));
    check(scaled_dot_product >> sigmoid(-0.5), random_operands(grouped, 3));
    check(scaled_dot_product >> sliding_window(3), random_operands(grouped, 4));
    check(AdditiveAttention<double>(3, 3, 4, 5) >> causal, random_operands(grouped, 5));
    // Weights that a normalizer cut off stay so under small changes.
    check(cosine(1.0) >> entmax15, random_operands({.queries = 3, .keys = 4}, 6));
}

TEST_CASE("of ragged batches, after dropout, and of rows whose scores are large") {
    check(scaled_dot_product >> causal,
          random_operands(
              {.queries = 6, .keys = 9, .heads = 2, .sequences = {0, 2, 2, 6}, .key_sequences = {0, 5, 5, 9}}, 7));
    check(scaled_dot_product, random_operands({.queries = 5, .keys = 6, .dropout = {0.3, 5}}, 8));
    auto large = random_operands({.queries = 3, .keys = 5}, 9);
    large.q *= 40;
    check(dot_product >> soft_cap(50.0), large);
}

TEST_CASE("many keys and queries, 16 bits, and what is masked") {
    const auto x = random_operands<float>({.queries = 90, .keys = 150, .d_q = 8, .d_k = 8, .d_v = 6}, 10);
    const auto attention = scaled_dot_product >> causal;
    Random random(11);
    RowMatrix<float> dweights = random_matrix<float>(random, 90, 150), zero = RowMatrix<float>::Zero(90, 6);
    // A loss in w · v is one in the output: dweights = dout · vᵀ, but for the values' own gradient.
    dweights = x.dout * x.v.transpose();
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    RowMatrix<float> dq, dk, dv;
    attention.backward(x.q, x.k, x.v, y.out, y.lse, zero, dq, dk, dv, {.dweights = dweights});
    CHECK(distance(dq, d.dq) < 1e-5);
    CHECK(distance(dk, d.dk) < 1e-5);
    CHECK(dv.isZero());
    // Masked pairs have no gradient, whatever stands there.
    RowMatrix<float> again = dweights, dq2, dk2, dv2;
    for (Index i = 0; i < 90; ++i) again.row(i).tail(150 - i - 1).setConstant(std::numeric_limits<float>::quiet_NaN());
    attention.backward(x.q, x.k, x.v, y.out, y.lse, zero, dq2, dk2, dv2, {.dweights = again});
    CHECK(same_bits(dq2, dq));
    CHECK(same_bits(dk2, dk));

    const auto half = x.cast<Eigen::bfloat16>();
    const auto of_half = forward(attention, half);
    RowMatrix<Eigen::bfloat16> none = zero.cast<Eigen::bfloat16>(), dq_half, dk_half, dv_half;
    attention.backward(half.q, half.k, half.v, of_half.out, of_half.lse, none, dq_half, dk_half, dv_half,
                       {.dweights = dweights});
    CHECK(distance(dq_half.cast<float>(), d.dq) < 0.05);
}

TEST_CASE("a weight that was dropped gives nothing, though its own gradient be infinite") {
    const auto x = random_operands({.queries = 9, .keys = 12, .d_q = 4, .d_k = 4, .d_v = 3, .dropout = {0.3, 2}}, 3);
    const auto y = forward(scaled_dot_product, x);
    const RowMatrix<double> of_entropy = y.weights.array().log() + 1, none = RowMatrix<double>::Zero(9, 3);
    RowMatrix<double> finite = of_entropy, dq, dk, dv, dq2, dk2, dv2;
    for (double& d : finite.reshaped()) d = std::isfinite(d) ? d : 0;
    REQUIRE(!of_entropy.allFinite());
    const auto backward_of = [&](const RowMatrix<double>& dweights, auto& to_q, auto& to_k, auto& to_v) {
        scaled_dot_product.backward(x.q, x.k, x.v, y.out, y.lse, none, to_q, to_k, to_v,
                                    {.dweights = dweights, .dropout = x.layout.dropout});
    };
    backward_of(of_entropy, dq, dk, dv), backward_of(finite, dq2, dk2, dv2);
    CHECK(dq.allFinite());
    CHECK(same_bits(dq, dq2));
    CHECK(same_bits(dk, dk2));
}

TEST_CASE("a gradient of weights that does not fit is refused in words") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 5}, 1);
    const auto y = forward(dot_product, x);
    RowMatrix<double> dq(4, 3), dk, dv, wrong(4, 4);
    const RowMatrix<float> floats(4, 5);
    const auto with = [&](const auto& dweights) {
        return [&] { dot_product.backward(x.q, x.k, x.v, y.out, y.lse, x.dout, dq, dk, dv, {.dweights = dweights}); };
    };
    CHECK(refusal(with(wrong)) == "dweights (4x4) must be 4x5 to go with q (4x3) and k (5x3)");
    CHECK(refusal(with(floats)) == "dweights must hold numbers of the type that the call computes in: double");
    RowMatrix<double> memory(4, 8);
    CHECK(refusal([&] {
              dot_product.backward(x.q, x.k, x.v, y.out, y.lse, x.dout, memory.leftCols(3), dk, dv,
                                   {.dweights = memory.middleCols(2, 5)});
          }).find("dweights") != std::string::npos);
}

}  // namespace test_weight_gradients

// 16-bit types compute in float and round once; float's gradients follow double's; long double keeps its digits.

#include <attend/attend.hpp>

#include <iostream>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

namespace {

const Layout layout{.queries = 9, .keys = 12, .d_q = 8, .d_k = 8, .d_v = 5, .heads = 2, .kv_heads = 2};
const Layout eight_heads{.queries = 20, .keys = 30, .d_q = 8, .d_k = 8, .d_v = 8, .heads = 8, .kv_heads = 8};

/// Whether x is y rounded to x's scalar, where y may be off by roundings of float: sums over the weights, which the
/// output stands for in float, are formed anew where it was rounded.
template <class Half>
bool is_rounded(const RowMatrix<Half>& x, const RowMatrix<float>& y) {
    const float noise = 16 * std::numeric_limits<float>::epsilon() * y.cwiseAbs().maxCoeff();
    for (Index i = 0; i < y.size(); ++i) {
        const float value = static_cast<float>(x.data()[i]);
        if (value < static_cast<float>(static_cast<Half>(y.data()[i] - noise))) return false;
        if (value > static_cast<float>(static_cast<Half>(y.data()[i] + noise))) return false;
    }
    return true;
}

/// What float makes of the same numbers, rounded once, is what the 16-bit type gives.
template <class Half, class A, class AFloat>
void check_rounds_once(const A& attention, const AFloat& in_float) {
    const Operands<Half> x = random_operands<Half>(layout, 1);
    const Operands<float> wide = x.template cast<float>();
    const Outputs<Half> y = forward(attention, x);
    const Outputs<float> y_wide = forward(in_float, wide);
    CHECK(same_bits(y.out, y_wide.out.template cast<Half>()));
    CHECK(same_bits(y.lse, y_wide.lse));
    CHECK(same_bits(y.weights, y_wide.weights));
    const auto d = backward(attention, x);
    const auto d_wide = backward(in_float, wide);
    CHECK(is_rounded(d.dq, d_wide.dq));
    CHECK(is_rounded(d.dk, d_wide.dk));
    CHECK(is_rounded(d.dv, d_wide.dv));
}

/// The largest error of float's gradients, in units of float's rounding of the largest gradient of each operand.
template <class A, class ADouble>
double gradient_error(const A& attention, const ADouble& in_double, std::uint64_t seed) {
    const Operands<float> x = random_operands<float>(eight_heads, seed);
    const auto d = backward(attention, x);
    const auto exact = backward(in_double, x.cast<double>());
    const auto error = [](const auto& a, const auto& b) {
        return b.size() == 0 ? 0.0 : distance(a, b) / static_cast<double>(b.array().abs().maxCoeff());
    };
    const double worst = std::max({error(d.dq, exact.dq), error(d.dk, exact.dk), error(d.dv, exact.dv),
                                   error(parameters_of(d.parameters), parameters_of(exact.parameters))});
    return worst / std::numeric_limits<float>::epsilon();
}

}  // namespace

TEMPLATE_TEST_CASE("16-bit types compute in float and round once", "", Eigen::half, Eigen::bfloat16) {
    const auto attention = scaled_dot_product >> soft_cap(3.0) >> causal;
    check_rounds_once<TestType>(attention, attention);
    check_rounds_once<TestType>(cosine(2.0), cosine(2.0));
    // Parameters of 16 bits take in float products and are widened to read.
    GeneralAttention<TestType> general(8, 8, 3);
    GeneralAttention<float> general_in_float(8, 8, 3);
    general_in_float.weight = general.weight.template cast<float>();
    check_rounds_once<TestType>(general, general_in_float);
}

TEST_CASE("gradients in float are those in double up to rounding") {
    GeneralAttention<float> general(8, 8, 2);
    GeneralAttention<double> general_in_double(8, 8, 2);
    general_in_double.weight = general.weight.cast<double>();
    AdditiveAttention<float> additive(8, 8, 6, 3);
    AdditiveAttention<double> additive_in_double(8, 8, 6, 3);
    additive_in_double.query_weight = additive.query_weight.cast<double>();
    additive_in_double.key_weight = additive.key_weight.cast<double>();
    additive_in_double.score_weight = additive.score_weight.cast<double>();
    const auto chain =
        scaled_dot_product >> soft_cap(3.0) >> alibi(alibi_slopes(8)) >> causal >> softmax_with_sink(0.5);

    // About a hundred roundings, of operations and of summands, lie on the way to a gradient. They add up like a random
    // walk.
    constexpr double bound = 16;
    const auto check = [&](std::string_view name, double error) {
        std::cout << "gradients in float, " << name << ": " << error << " epsilon of " << bound << " allowed\n";
        CHECK(error <= bound);
    };
    check("dot", gradient_error(dot_product, dot_product, 1));
    check("scaled dot, soft cap, ALiBi, causal, sink", gradient_error(chain, chain, 2));
    check("cosine", gradient_error(cosine(5.0), cosine(5.0), 3));
    check("general", gradient_error(general, general_in_double, 4));
    check("additive", gradient_error(additive, additive_in_double, 5));
    check("entmax", gradient_error(scaled_dot_product >> entmax15, scaled_dot_product >> entmax15, 6));
}

TEST_CASE("long double keeps its digits") {
    const Operands<long double> x =
        random_operands<long double>({.queries = 6, .keys = 9, .d_q = 4, .d_k = 4, .d_v = 3}, 7);
    const auto plain =
        plain_attention(6, x.v, [&](Index i, Index j) -> long double { return x.q.row(i).dot(x.k.row(j)) / 2; });
    const Outputs<long double> y = forward(scaled_dot_product, x);
    const auto error = [](const auto& a, const auto& b) { return static_cast<double>((a - b).cwiseAbs().maxCoeff()); };
    constexpr double rounding = 64 * std::numeric_limits<long double>::epsilon();
    CHECK(error(y.out, plain.out) < rounding);
    CHECK(error(y.weights, plain.weights) < rounding);
    CHECK(error(y.lse, plain.lse) < rounding);
    CHECK(distance(backward(scaled_dot_product, x).dq, backward(scaled_dot_product, x.cast<double>()).dq) < 1e-14);
}

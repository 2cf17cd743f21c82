// 16-bit types compute in float and round once; float's gradients follow double's; long double keeps its digits.

#include <attend/attend.hpp>

#include <iostream>
#include <vector>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

namespace test_scalar_types {
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

// Each type of attention costs a second of compiling for each scalar, and seconds for 16-bit ones: every part is in one
// composition, and most compositions are in several tests.

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
    std::vector<RowMatrix<float>> parameters;
    visit_parameters(d_wide.parameters, [&](std::string_view, const auto& matrix) {
        parameters.push_back(matrix.template cast<float>());
    });
    std::size_t next = 0;
    visit_parameters(d.parameters, [&](std::string_view, const auto& matrix) {
        using Scalar = typename std::remove_cvref_t<decltype(matrix)>::Scalar;
        if constexpr (std::is_same_v<Scalar, Half>) CHECK(is_rounded<Half>(matrix, parameters.at(next)));
        ++next;
    });
    CHECK(next == parameters.size());
}

/// The largest error of float's gradients, in units of float's rounding of the largest gradient of each operand.
template <class A>
double gradient_error(const A& attention, std::uint64_t seed) {
    const Operands<float> x = random_operands<float>(eight_heads, seed);
    const auto d = backward(attention, x);
    const auto exact = backward(attention, x.cast<long double>());
    const auto error = [](const auto& a, const auto& b) {
        return b.size() == 0 ? 0.0 : distance(a, b) / static_cast<double>(b.array().abs().maxCoeff());
    };
    const double worst = std::max({error(d.dq, exact.dq), error(d.dk, exact.dk), error(d.dv, exact.dv),
                                   error(parameters_of(d.parameters), parameters_of(exact.parameters))});
    return worst / std::numeric_limits<float>::epsilon();
}

// Each scalar costs several seconds of compiling, and each attention a second for each of its scalars: what has more
// digits than float is long double throughout, and an attention has several parts.
const auto cosine_entmax = cosine(5.0) >> entmax15;

}  // namespace

TEMPLATE_TEST_CASE("16-bit types compute in float and round once", "", Eigen::half, Eigen::bfloat16) {
    // Parameters of 16 bits take in float products and are widened to read.
    GeneralAttention<TestType> general(8, 8, 3);
    GeneralAttention<float> general_in_float(8, 8, 3);
    general_in_float.weight = general.weight.template cast<float>();
    check_rounds_once<TestType>(general >> soft_cap(3.0) >> causal, general_in_float >> soft_cap(3.0) >> causal);
}

TEST_CASE("16-bit types compute in float and round once, by pairs and by whole rows") {
    const AdditiveAttention<Eigen::bfloat16> additive(8, 8, 6, 3);
    check_rounds_once<Eigen::bfloat16>(additive, AdditiveAttention<float>(additive.score().cast<float>()));
    check_rounds_once<Eigen::half>(cosine_entmax, cosine_entmax);
}

// Those of the general and of the additive score are in gradient_accuracy.cpp.
TEST_CASE("gradients in float are those of more digits up to rounding") {
    const auto chain = dot_product >> soft_cap(3.0) >> alibi(alibi_slopes(8)) >> causal >> softmax_with_sink(0.5);

    // About a hundred roundings, of operations and of summands, lie on the way to a gradient. They add up like a random
    // walk.
    constexpr double bound = 16;
    const auto check = [&](std::string_view name, double error) {
        std::cout << "gradients in float, " << name << ": " << error << " epsilon of " << bound << " allowed\n";
        CHECK(error <= bound);
    };
    check("scaled dot", gradient_error(scaled_dot_product, 1));
    check("dot, soft cap, ALiBi, causal, sink", gradient_error(chain, 2));
    check("cosine, entmax", gradient_error(cosine_entmax, 3));
}

TEST_CASE("long double keeps its digits") {
    using Matrix = RowMatrix<long double>;
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

    const Matrix dp = x.dout * x.v.transpose();
    Matrix ds = plain.weights;
    for (Index i = 0; i < ds.rows(); ++i) ds.row(i).array() *= dp.row(i).array() - plain.weights.row(i).dot(dp.row(i));
    CHECK(error(backward(scaled_dot_product, x).dq, Matrix(ds * x.k / 2)) < rounding);
}

}  // namespace test_scalar_types

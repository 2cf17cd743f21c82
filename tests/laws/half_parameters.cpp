// Gradients of 16-bit parameters are summed up in float and rounded once.

#include <attend/attend.hpp>

#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_half_parameters {
namespace {

/// `exact` is the same attention in double, on the same numbers.
template <class X, class A, class B>
void check_rounded_once(const A& attention, const B& exact, const Layout& layout) {
    const Operands<double> drawn = random_operands(layout, 5);
    const Operands<X> x = drawn.template cast<X>();
    const auto d = backward(attention, x);
    const auto wanted = backward(exact, x.template cast<double>());
    const Eigen::VectorXd parameters = parameters_of(d.parameters), expected = parameters_of(wanted.parameters);
    const double rounding = std::is_same_v<X, Eigen::half> ? 0x1p-11 : 0x1p-8;  // Eigen 3.4 is wrong about half's
    REQUIRE(parameters.size() == expected.size());
    for (Index i = 0; i < parameters.size(); ++i) {
        CAPTURE(i, parameters[i], expected[i]);
        CHECK(std::abs(parameters[i] - expected[i]) <= rounding * std::abs(expected[i]) + 1e-4 * magnitude(expected));
    }
}

}  // namespace

TEMPLATE_TEST_CASE("gradients of 16-bit parameters have one rounding", "", Eigen::bfloat16, Eigen::half) {
    using X = TestType;
    const Layout layout{.queries = 1000, .keys = 20, .d_q = 4, .d_k = 4, .d_v = 3};
    const GeneralAttention<X> general(4, 4, 1);
    check_rounded_once<X>(general, GeneralAttention<double>(general.score().template cast<double>()), layout);
    const AdditiveAttention<X> additive(4, 4, 5, 1);
    check_rounded_once<X>(additive, AdditiveAttention<double>(additive.score().template cast<double>()), layout);
    const RowMatrix<X> table = RowMatrix<double>::Random(32, 1).template cast<X>();
    check_rounded_once<X>(scaled_dot_product >> relative_bias(table) >> causal,
                          scaled_dot_product >> relative_bias(table.template cast<double>().eval()) >> causal, layout);
    const RowMatrix<X> values = RowMatrix<double>::Random(40, 20).template cast<X>();
    check_rounded_once<X>(scaled_dot_product >> bias(values),
                          scaled_dot_product >> bias(values.template cast<double>().eval()),
                          {.queries = 40, .keys = 20, .d_q = 4, .d_k = 4, .d_v = 3, .heads = 3, .kv_heads = 3});
}

}  // namespace test_half_parameters

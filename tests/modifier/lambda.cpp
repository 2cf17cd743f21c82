#include <attend/modifier/lambda.hpp>

#include <attend/mask/causal.hpp>
#include <attend/modifier/alibi.hpp>
#include <attend/modifier/bias.hpp>
#include <attend/modifier/soft_cap.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_lambda {

TEST_CASE("a formula of the score and its position is a modifier") {
    const auto attention =
        dot_product >> modifier([](auto s, auto p) { return s - 0.1f * tanh(decltype(s)(p.query - p.key)); });
    CHECK(attention.modifiers(1.0, Position{.query = 5, .key = 2}) ==
          Approx(1.0 - double(0.1f) * std::tanh(3.0)).epsilon(1e-15));
}

TEST_CASE("a formula that says what a modifier of the library says gives its values and gradients") {
    const Operands<double> x = random_operands({.queries = 5, .keys = 6, .query_offset = 1}, 1);
    const auto capped = [](double cap) { return modifier([cap](auto s, auto) { return cap * tanh(s / cap); }); };
    const auto ours = dot_product >> soft_cap(1.5) >> alibi(0.25) >> causal;
    const auto theirs = dot_product >> capped(1.5) >>
                        modifier([](auto s, auto p) { return s - 0.25 * decltype(s)(p.query - p.key); }) >> causal;
    CHECK(first_difference(forward(theirs, x), forward(ours, x)) == "");
    const auto d = backward(theirs, x);
    const auto expected = backward(ours, x);
    CHECK(distance(d.dq, expected.dq) < 1e-14);
}

TEST_CASE("a formula may choose by comparing, and use the whole position") {
    const auto rectified = modifier(
        [](auto s, auto p) { return max(s, decltype(s)(0)) + decltype(s)(100 * p.row + 10 * p.head + p.sequence); });
    CHECK(rectified(-3.0, Position{.row = 2, .head = 1, .sequence = 4}) == 214.0);
    CHECK(rectified(3.0, Position{}) == 3.0);
    CHECK(rectified(Dual<double>::variable(-3.0), Position{}).derivative() == 0.0);
    CHECK(rectified(Dual<double>::variable(3.0), Position{}).derivative() == 1.0);
}

TEST_CASE("a formula of one plain scalar type serves forward calls") {
    const Operands<float> x = random_operands<float>({.queries = 3, .keys = 4}, 2);
    const auto attention =
        dot_product >> modifier([](float s, const Position& p) { return s + static_cast<float>(p.key); });
    const Eigen::MatrixXf keys = Eigen::RowVectorXf::LinSpaced(4, 0.0f, 3.0f).replicate(3, 1);
    CHECK(distance(attention(x.q, x.k, x.v), (dot_product >> bias(keys))(x.q, x.k, x.v)) < 1e-6);
}

}  // namespace test_lambda

#include <attend/modifier/chain.hpp>

#include <attend/modifier/bias.hpp>
#include <attend/modifier/lambda.hpp>
#include <attend/modifier/scale.hpp>
#include <attend/modifier/soft_cap.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_chain {

TEST_CASE("modifiers apply in the order in which they are written") {
    const auto add_one = modifier([](auto s, auto) { return s + 1; });
    CHECK((dot_product >> scale(3.0) >> add_one).modifiers(2.0, Position{}) == 7.0);
    CHECK((dot_product >> add_one >> scale(3.0)).modifiers(2.0, Position{}) == 9.0);
    CHECK((dot_product >> soft_cap(1.0) >> scale(10.0)).modifiers(1e9, Position{}) == 10.0);
    CHECK((dot_product >> scale(10.0) >> soft_cap(1.0)).modifiers(1e9, Position{}) == 1.0);
}

TEST_CASE("no modifier leaves a score as it is") {
    CHECK(dot_product.modifiers(2.5, Position{}) == 2.5);
    CHECK(dot_product.modifiers.backward(2.5, Position{}, 0.5, nullptr) == 0.5);
}

TEST_CASE("backward follows the chain rule from the last modifier to the first") {
    const auto squared = modifier([](auto s, auto) { return s * s; });
    auto chain = (dot_product >> scale(3.0) >> squared >> scale(0.5)).modifiers;  // y = 4.5 s²
    auto gradient = chain;
    std::get<0>(gradient.each).factor = 0;
    std::get<2>(gradient.each).factor = 0;
    CHECK(chain(2.0, Position{}) == 18.0);
    CHECK(chain.backward(2.0, Position{}, 10.0, &gradient) == 10.0 * 18.0);  // dy/ds = 9 s
    CHECK(std::get<0>(gradient.each).factor == 10.0 * 12.0);                 // y = ½ (a s)²: dy/da = a s²
    CHECK(std::get<2>(gradient.each).factor == 10.0 * 36.0);                 // y = b (3 s)²: dy/db = 9 s²
}

}  // namespace test_chain

#include <attend/modifier/scale.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_scale {

TEST_CASE("scale multiplies the score") {
    CHECK(scale(2.5)(4.0, Position{}) == 10.0);
    CHECK(scale(0.5)(-3.0f, Position{}) == -1.5f);
}

TEST_CASE("a temperature a head: each head is a call with its own, and all have gradients") {
    const Eigen::Vector4d factors(0.5, 2, -1, 0);
    CHECK(scale(factors)(3.0, Position{.head = 2}) == -3.0);
    const Operands<double> x = random_operands({.queries = 3, .keys = 4, .heads = 4, .kv_heads = 2}, 4);
    const auto all = forward(dot_product >> scale(factors), x);
    for (Index h = 0; h < 4; ++h) {
        const auto one = forward(dot_product >> scale(factors[h]), x);
        CHECK(same_bits(all.out.middleCols(2 * h, 2), one.out.middleCols(2 * h, 2)));
    }
    check_gradients(dot_product >> scale(factors), x);
    CHECK(refusal([&] { forward(dot_product >> scale(Eigen::Vector3d(1, 2, 3)), x); }) ==
          "scale: factor (3 values) must have one value a head, there are 4 heads");
}

TEST_CASE("a dot product scaled by 1/√d is the scaled dot product") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 6, .d_q = 9, .d_k = 9}, 1);
    CHECK(distance(forward(dot_product >> scale(1.0 / 3.0), x).out, forward(scaled_dot_product, x).out) < 1e-14);
}

TEST_CASE("scaling by 0 weighs all keys alike") {
    const Operands<double> x = random_operands({.queries = 3, .keys = 8}, 2);
    CHECK((forward(dot_product >> scale(0.0), x).weights.array() == 0.125).all());
}

}  // namespace test_scale

// Golden rotary embeddings: both layouts, from position 0 and further on, and their gradients.

#include <attend/attend.hpp>
#include <golden/golden.hpp>

using namespace attend;
using namespace attend::test;

namespace test_rope {
namespace {

std::vector<Case> rope_cases() { return golden_cases_of("rope"); }

Rope rope_of(const Case& c) {
    return {.layout = c.integer("interleaved") == 1 ? RopeLayout::interleaved : RopeLayout::half_split,
            .base = c.number("base")};
}

}  // namespace

TEST_CASE("golden RoPE in double, and its gradient, which is the inverse") {
    const Case c = GENERATE(from_range(rope_cases()));
    Comparison comparison(c);
    RowMatrix<double> x = c.in("x").matrix<double>(), dx = c.in("dout").matrix<double>();
    rope_of(c)(x, c.integer("position_offset"));
    comparison.check("out", x);
    rope_of(c).inverse(dx, c.integer("position_offset"));
    comparison.check("dx", dx);
    comparison.finish();
}

TEST_CASE("golden RoPE in float: a cos − b sin with every operand and operation rounded once") {
    const Case c = GENERATE(from_range(rope_cases()));
    RowMatrix<float> x = c.in("x").matrix<float>();
    rope_of(c)(x, c.integer("position_offset"));
    // Per product: an input, a factor and the product itself are rounded; then the sum is. |a cos| + |b sin| ≤ √2 max
    // |x|.
    const double rounding = double{std::numeric_limits<float>::epsilon()} / 2;
    const double bound = 4 * rounding * std::sqrt(2.0) * c.in("x").matrix<double>().cwiseAbs().maxCoeff();
    INFO(c.name);
    CHECK(distance(x, c.out("out").matrix<double>()) <= bound);
}

}  // namespace test_rope

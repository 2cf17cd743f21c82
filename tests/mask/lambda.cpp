#include <attend/mask/lambda.hpp>

#include <attend/mask/causal.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_lambda {

TEST_CASE("a predicate of the position is a mask") {
    const Layout layout{.queries = 5, .keys = 7, .heads = 4, .kv_heads = 2, .query_offset = 1};
    const auto kept = [](Position p) {
        return p.key % 2 == 0 || p.key == p.query || (p.head == 3 && p.kv_head == 1 && p.row == 2);
    };
    const auto y = forward(dot_product >> mask(kept), random_operands(layout, 1));
    for (Index head = 0; head < 4; ++head) {
        for (Index row = 0; row < 5; ++row) {
            for (Index key = 0; key < 7; ++key) {
                const bool expected = key % 2 == 0 || key == row + 1 || (head == 3 && row == 2);
                CHECK((y.weights(head * 5 + row, key) > 0) == expected);
            }
        }
    }
}

TEST_CASE("a predicate that says what a mask of the library says gives its bits") {
    const Operands<double> x = random_operands({.queries = 5, .keys = 5}, 2);
    const auto ours = dot_product >> causal;
    CHECK(first_difference(forward(dot_product >> mask([](Position p) { return p.key <= p.query; }), x),
                           forward(ours, x)) == "");
}

}  // namespace test_lambda

#include <attend/mask/dilated.hpp>

#include <support/catch.hpp>
#include <support/covers.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_dilated {

TEST_CASE("a dilated mask keeps each key that is so many steps away, on both sides") {
    for (Index query = -8; query < 20; ++query) {
        for (Index steps = -5; steps <= 5; ++steps) {
            for (Index beside = 0; beside < 3; ++beside)
                CHECK(dilated(3)({.query = query, .key = query + 3 * steps + beside}) == (beside == 0));
        }
    }
}

TEST_CASE("a dilated mask knows the cover of every tile exactly") {
    Random random(1);
    for (int round = 0; round < 3000; ++round) {
        const Tile tile = random_tile(random);
        const auto mask = dilated(random_index(random, 1, 20));
        REQUIRE(mask.cover(tile) == exact_cover(mask, tile));
    }
}

TEST_CASE("a step below 1 is refused") {
    CHECK(refusal([] { dilated(0); }) == "dilated: the step must be at least 1, got 0");
}

}  // namespace test_dilated

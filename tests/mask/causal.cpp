#include <attend/mask/causal.hpp>

#include <support/catch.hpp>
#include <support/covers.hpp>

using namespace attend;
using namespace attend::test;

namespace test_causal {

TEST_CASE("causal keeps keys up to the query's position") {
    for (Index query = -2; query < 6; ++query) {
        for (Index key = 0; key < 6; ++key) CHECK(causal({.query = query, .key = key}) == (key <= query));
    }
}

TEST_CASE("causal knows the cover of every tile exactly") {
    Random random(1);
    for (int round = 0; round < 1000; ++round) {
        const Tile tile = random_tile(random);
        REQUIRE(causal.cover(tile) == exact_cover(causal, tile));
    }
}

}  // namespace test_causal

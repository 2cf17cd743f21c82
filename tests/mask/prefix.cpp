#include <attend/mask/prefix.hpp>

#include <support/catch.hpp>
#include <support/covers.hpp>

using namespace attend;
using namespace attend::test;

namespace test_prefix {

TEST_CASE("a prefix is its first keys, for every query") {
    for (const Index query : {-3, 0, 100}) {
        for (Index key = 0; key < 6; ++key) CHECK(prefix(4)({.query = query, .key = key}) == (key < 4));
        CHECK_FALSE(prefix(0)({.query = query, .key = 0}));
    }
}

TEST_CASE("a prefix knows the cover of every tile exactly") {
    Random random(1);
    for (int round = 0; round < 1000; ++round) {
        const Tile tile = random_tile(random);
        const Prefix mask = prefix(random_index(random, 0, 40));
        REQUIRE(mask.cover(tile) == exact_cover(mask, tile));
    }
}

}  // namespace test_prefix

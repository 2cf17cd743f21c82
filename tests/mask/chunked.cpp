#include <attend/mask/chunked.hpp>

#include <attend/core/positions.hpp>
#include <support/catch.hpp>
#include <support/covers.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_chunked {

TEST_CASE("a chunk sees itself and so many before it, also at positions below 0") {
    const auto own = chunked(4), two = chunked(4, 2);
    for (Index query = -9; query < 20; ++query) {
        Index begin = query;  // of the query's chunk: the multiple of 4 before it
        while (begin % 4 != 0) --begin;
        for (Index key = 0; key < 25; ++key) {
            CHECK(own({.query = query, .key = key}) == (begin <= key && key < begin + 4));
            CHECK(two({.query = query, .key = key}) == (begin - 8 <= key && key < begin + 4));
        }
    }
    const Index far = attend::detail::most_position;
    CHECK(chunked(1, far)({.query = far, .key = 0}));
    CHECK(chunked(far, far)({.query = -far, .key = -far}));
}

TEST_CASE("chunks know the cover of every tile exactly") {
    Random random(1);
    for (int round = 0; round < 3000; ++round) {
        const Tile tile = random_tile(random);
        const auto mask = chunked(random_index(random, 1, 12), random_index(random, 0, 3));
        REQUIRE(mask.cover(tile) == exact_cover(mask, tile));
    }
}

TEST_CASE("chunks without keys are refused") {
    CHECK(refusal([] { chunked(0); }) == "chunked: a chunk must hold at least one key, got 0");
    CHECK(refusal([] { chunked(4, -1); }) == "chunked: the chunks before the query's must be at least 0, got -1");
}

}  // namespace test_chunked

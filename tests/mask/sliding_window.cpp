#include <attend/mask/sliding_window.hpp>

#include <support/catch.hpp>
#include <support/covers.hpp>

using namespace attend;
using namespace attend::test;

namespace test_sliding_window {

TEST_CASE("a window of n keeps query − key < n, and what comes after the query") {
    const SlidingWindow window = sliding_window(3);
    CHECK(window({.query = 10, .key = 8}));
    CHECK_FALSE(window({.query = 10, .key = 7}));
    CHECK(window({.query = 10, .key = 1000000}));
}

TEST_CASE("a window of two sides keeps −right ≤ query − key ≤ left, −1 leaving a side open") {
    const SlidingWindow window = sliding_window(2, 1);
    for (Index key = 0; key < 20; ++key) CHECK(window({.query = 10, .key = key}) == (8 <= key && key <= 11));
    CHECK(sliding_window(-1, 1)({.query = 1000000, .key = 0}));
    CHECK_FALSE(sliding_window(-1, 1)({.query = 10, .key = 12}));
    CHECK(sliding_window(2, -1)({.query = 10, .key = 1000000}));
    CHECK_FALSE(sliding_window(2, -1)({.query = 10, .key = 7}));
    CHECK(sliding_window(-1, -1)({.query = -5, .key = 1000000}));
}

TEST_CASE("a window knows the cover of every tile exactly") {
    Random random(1);
    for (int round = 0; round < 2000; ++round) {
        const Tile tile = random_tile(random);
        const SlidingWindow window = round % 2 == 0
                                         ? sliding_window(random_index(random, 1, 12))
                                         : sliding_window(random_index(random, -1, 12), random_index(random, -1, 12));
        REQUIRE(window.cover(tile) == exact_cover(window, tile));
    }
}

}  // namespace test_sliding_window

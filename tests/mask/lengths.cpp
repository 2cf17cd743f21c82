#include <attend/mask/lengths.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/covers.hpp>

using namespace attend;
using namespace attend::test;

namespace test_lengths {

TEST_CASE("lengths keep the first keys of each sequence") {
    const Lengths mask = lengths({3, 0, 5});
    for (const Index sequence : {0, 1, 2}) {
        for (Index key = 0; key < 6; ++key)
            CHECK(mask({.key = key, .sequence = sequence}) ==
                  (key < std::array{3, 0, 5}[static_cast<std::size_t>(sequence)]));
    }
}

TEST_CASE("lengths know the cover of every tile exactly") {
    Random random(1);
    for (int round = 0; round < 1000; ++round) {
        const Tile tile = random_tile(random);
        const Lengths mask = lengths({random_index(random, 0, 40), random_index(random, 0, 40), 0});
        REQUIRE(mask.cover(tile) == exact_cover(mask, tile));
    }
}

TEST_CASE("a padded batch is the ragged batch without the padding") {
    const Layout ragged{.queries = 5, .keys = 5, .sequences = {0, 2, 5}, .key_sequences = {0, 2, 5}};
    const Layout padded{.queries = 5, .keys = 8, .sequences = {0, 2, 5}, .key_sequences = {0, 4, 8}};
    const Operands<double> x = random_operands(ragged, 2);
    Operands<double> y = random_operands(padded, 3);
    y.q = x.q;
    y.k.topRows(2) = x.k.topRows(2), y.k.middleRows(4, 3) = x.k.bottomRows(3);
    y.v.topRows(2) = x.v.topRows(2), y.v.middleRows(4, 3) = x.v.bottomRows(3);
    CHECK(distance(forward(dot_product >> lengths({2, 3}), y).out, forward(dot_product, x).out) < 1e-15);
}

}  // namespace test_lengths

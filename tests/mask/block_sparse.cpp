#include <attend/mask/block_sparse.hpp>

#include <support/catch.hpp>
#include <support/covers.hpp>

using namespace attend;
using namespace attend::test;

namespace test_block_sparse {

TEST_CASE("whole blocks of absolute positions are kept, and nothing beyond them") {
    const RowMatrix<bool> blocks{{true, false}, {true, true}, {false, true}};
    const BlockSparse mask = block_sparse(blocks, 2, 3);
    for (Index query = -4; query < 10; ++query) {
        for (Index key = 0; key < 10; ++key) {
            const bool inside = query >= 0 && query < 6 && key < 6;
            CHECK(mask({.query = query, .key = key, .row = 1}) == (inside && blocks(query / 2, key / 3)));
        }
    }
}

TEST_CASE("blocks know the cover of every tile exactly") {
    Random random(1);
    for (int round = 0; round < 1000; ++round) {
        const Tile tile = random_tile(random);
        const RowMatrix<bool> blocks = random_matrix<double>(random, 5, 6).array() > -0.4;
        const BlockSparse mask = block_sparse(blocks, random_index(random, 1, 7), random_index(random, 1, 7));
        REQUIRE(mask.cover(tile) == exact_cover(mask, tile));
    }
}

}  // namespace test_block_sparse

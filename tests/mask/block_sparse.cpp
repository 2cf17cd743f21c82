#include <attend/mask/block_sparse.hpp>

#include <support/catch.hpp>
#include <support/covers.hpp>
#include <support/refusal.hpp>

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

TEST_CASE("blocks may be those of a head, of a sequence, or both, from a block of queries on") {
    Random random(2);
    const RowMatrix<bool> blocks = random_matrix<double>(random, 24, 5).array() > 0;  // 2 sequences, 3 heads, 4 blocks
    const auto entry = [&](Index plane, Index query, Index key) {
        return query >= 0 && query < 8 && key < 15 && blocks(4 * plane + query / 2, key / 3);
    };
    for (Index head = 0; head < 3; ++head) {
        for (Index sequence = 0; sequence < 2; ++sequence) {
            for (Index query = -2; query < 12; ++query) {
                for (Index key = 0; key < 17; ++key) {
                    const Position p{.query = query, .key = key, .head = head, .sequence = sequence};
                    const BlockSparse both{blocks, 2, 3, 3, 2}, of_sequences{blocks.topRows(8), 2, 3, 1, 2},
                        later{blocks, 2, 3, 3, 2, 1};
                    CHECK(both(p) == entry(3 * sequence + head, query, key));
                    CHECK(of_sequences(p) == entry(sequence, query, key));
                    CHECK(later(p) == entry(3 * sequence + head, query - 2, key));
                    CHECK(block_sparse(blocks.topRows(12), 2, 3, 3)(p) == entry(head, query, key));
                }
            }
        }
    }
    for (int round = 0; round < 1000; ++round) {
        Tile tile = random_tile(random);
        tile.head = std::min<Index>(tile.head, 2), tile.sequence = std::min<Index>(tile.sequence, 1);
        const BlockSparse mask{blocks, 5, 7, 3, 2, random_index(random, 0, 2)};
        REQUIRE(mask.cover(tile) == exact_cover(mask, tile));
    }
}

TEST_CASE("blocks of heads that do not fit are refused") {
    const RowMatrix<bool> blocks = RowMatrix<bool>::Constant(6, 2, true);
    CHECK(refusal([&] { block_sparse(blocks, 2, 2, 4); }) ==
          "block_sparse: 4 heads of 1 sequences do not divide the rows of blocks (6x2)");
    CHECK(refusal([&] { block_sparse(blocks, 2, 2, 3).check({.heads = 2}); }) ==
          "block_sparse: holds 3 heads, the call has 2");
    CHECK(refusal([&] {
              BlockSparse{blocks, 2, 2, 1, 3}.check({.sequences = 2});
          }) == "block_sparse: holds 3 sequences, the call has 2");
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

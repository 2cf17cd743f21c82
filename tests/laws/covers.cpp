// A cover never contradicts the pairs: a tile said to be empty has no visible pair, one said to be full no masked pair.
// For every mask, and for masks combined at random.

#include <attend/attend.hpp>

#include <algorithm>
#include <vector>

#include <support/catch.hpp>
#include <support/covers.hpp>

using namespace attend;
using namespace attend::test;

namespace test_covers {
namespace {

RowMatrix<bool> random_truths(Random& random, Index rows, Index columns) {
    return random_matrix<double>(random, rows, columns).array() > 0;
}

std::vector<Index> random_parents(Random& random, Index nodes) {
    std::vector<Index> parents;
    for (Index i = 0; i < nodes; ++i) parents.push_back(random_index(random, std::max<Index>(-1, i - 4), i - 1));
    return parents;
}

std::vector<AnyMask> random_masks(Random& random) {
    const auto index = [&](Index last) { return random_index(random, 0, last); };
    const Index first_document = index(8) - 4, second_document = first_document + index(9);
    return {AnyMask::of(causal),
            AnyMask::of(sliding_window(1 + index(8))),
            AnyMask::of(sliding_window(index(9) - 1, index(9) - 1)),
            AnyMask::of(lengths({index(10), index(40), 0})),
            AnyMask::of(documents({first_document, second_document, second_document + index(14), 30})),
            AnyMask::of(prefix(index(20))),
            AnyMask::of(dense_mask(random_truths(random, 28, 40))),
            AnyMask::of(block_sparse(random_truths(random, 4, 5), 1 + index(6), 1 + index(6))),
            AnyMask::of(tree(random_parents(random, index(20)), {index(20) - 4, index(20), index(30)})),
            AnyMask::of(chunked(1 + index(9), index(3))),
            AnyMask::of(dilated(1 + index(4))),
            AnyMask::of(neighbourhood({.rows = 1 + index(6), .columns = 1 + index(8), .depth = 1 + index(2)},
                                      {.rows = index(3), .columns = index(4), .depth = index(1)},
                                      index(1) == 0 ? Border::cut : Border::shift)),
            AnyMask::of(Everything{}),
            AnyMask::of(mask([](Position p) { return (p.query + 2 * p.key + p.head) % 3 == 0; })),
            AnyMask::of(compiled(block_sparse(random_truths(random, 7, 10), 4, 4) & ~documents({0, 9 + index(9), 40}),
                                 {.sequences = 3, .heads = 4, .kv_heads = 2, .queries = 28, .keys = 40}))};
}

AnyMask random_expression(Random& random, int depth) {
    if (depth == 0) {
        const std::vector<AnyMask> masks = random_masks(random);
        return masks[static_cast<std::size_t>(random_index(random, 0, std::ssize(masks) - 1))];
    }
    const AnyMask a = random_expression(random, depth - 1);
    switch (random_index(random, 0, 2)) {
        case 0:
            return AnyMask::of(~a);
        case 1:
            return AnyMask::of(a & random_expression(random, depth - 1));
        default:
            return AnyMask::of(a | random_expression(random, depth - 1));
    }
}

/// `some` is always safe; anything else must be what the pairs say.
bool contradicts(const AnyMask& mask, const Tile& tile) {
    const Cover cover = mask.cover(tile);
    return cover != Cover::some && cover != exact_cover(mask, tile);
}

}  // namespace

TEST_CASE("the cover of every mask agrees with its pairs") {
    Random random(1);
    int decided = 0;
    for (int round = 0; round < 2000; ++round) {
        const std::vector<AnyMask> masks = random_masks(random);
        const Tile tile = random_tile(random);
        for (std::size_t i = 0; i < masks.size(); ++i) {
            CAPTURE(round, i);
            if (contradicts(masks[i], tile)) FAIL_CHECK("the cover contradicts the pairs");
            decided += masks[i].cover(tile) != Cover::some ? 1 : 0;
        }
    }
    CHECK(decided > 10000);  // of 30000: covers that always say `some` would prove nothing
}

TEST_CASE("the cover of combined masks agrees with their pairs") {
    Random random(2);
    int decided = 0;
    for (int round = 0; round < 4000; ++round) {
        const AnyMask mask = random_expression(random, static_cast<int>(random_index(random, 1, 4)));
        const Tile tile = random_tile(random);
        CAPTURE(round);
        if (contradicts(mask, tile)) FAIL_CHECK("the cover contradicts the pairs");
        decided += mask.cover(tile) != Cover::some ? 1 : 0;
    }
    CHECK(decided > 2000);
}

}  // namespace test_covers

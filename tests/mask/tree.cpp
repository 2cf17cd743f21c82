#include <attend/mask/tree.hpp>

#include <algorithm>
#include <vector>

#include <attend/attend.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/covers.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_tree {
namespace {

//  0 ─ 1 ─ 3 ─ 6
//   ╲   ╲ 4
//    2 ─ 5        7 is a root of its own
const std::vector<Index> parents{-1, 0, 0, 1, 1, 2, 3, -1};

/// A node and its ancestors, root first.
std::vector<Index> path_of(Index node) {
    std::vector<Index> path;
    for (; node >= 0; node = parents[static_cast<std::size_t>(node)]) path.push_back(node);
    std::reverse(path.begin(), path.end());
    return path;
}

}  // namespace

TEST_CASE("a node sees what stands before the tree, its ancestors and itself") {
    constexpr Index begin = 5, n = 8;
    const Tree mask = tree(parents, begin);
    for (Index node = 0; node < n; ++node) {
        const std::vector<Index> path = path_of(node);
        CHECK(mask.depth(node) == std::ssize(path) - 1);
        CHECK(mask.parent(node) == (path.size() < 2 ? -1 : path[path.size() - 2]));
        for (Index key = -3; key < begin + n + 3; ++key) {
            const bool seen = key < begin || std::count(path.begin(), path.end(), key - begin) == 1;
            CHECK(mask({.query = begin + node, .key = key}) == seen);
        }
    }
    for (const Index query : {Index(-2), Index(0), begin - 1, begin + n, begin + n + 4}) {
        for (Index key = -3; key < begin + n + 8; ++key) CHECK(mask({.query = query, .key = key}) == (key <= query));
    }
}

TEST_CASE("tiles within a tree are known exactly, and those outside it as causal knows them") {
    const Tree mask = tree(parents, 64);
    Random random(1);
    for (int round = 0; round < 500; ++round) {
        const Index query = random_index(random, 64, 71), key = random_index(random, 64, 71);
        const Tile tile{.query_begin = query,
                        .query_end = random_index(random, query + 1, 72),
                        .key_begin = key,
                        .key_end = random_index(random, key + 1, 72)};
        CHECK(mask.cover(tile) == exact_cover(mask, tile));
    }
    CHECK(mask.cover({.query_begin = 64, .query_end = 72, .key_begin = 0, .key_end = 64}) == Cover::all);
    CHECK(mask.cover({.query_begin = 10, .query_end = 20, .key_begin = 20, .key_end = 80}) == Cover::none);
    CHECK(mask.cover({.query_begin = 10, .query_end = 20, .key_begin = 15, .key_end = 20}) == Cover::some);
}

TEST_CASE("a step of drafts that branch gives what each draft alone gives") {
    constexpr Index prompt = 37, d = 24;
    const auto check = [&](const auto& attention, const auto& plain, double tolerance) {
        const MultiHeadAttention<double, std::remove_cvref_t<decltype(attention)>> block(
            {.d_model = d, .heads = 4, .kv_heads = 2}, attention, 1);
        const MultiHeadAttention<double, std::remove_cvref_t<decltype(plain)>> alone(
            {.d_model = d, .heads = 4, .kv_heads = 2}, plain, 1);
        Random random(2);
        const RowMatrix<double> x = random_matrix<double>(random, prompt, d),
                                drafts = random_matrix<double>(random, 8, d);
        KvCache<double> cache({.heads = 2, .d_k = 6, .capacity = 50});
        RowMatrix<double> y, z;
        block.step(x, cache, y);
        z = alone(x);
        CHECK(distance(y, z) <= tolerance * magnitude(z));
        RowMatrix<double> at_once;
        block.step(drafts, cache, at_once);
        for (Index node = 0; node < 8; ++node) {
            const std::vector<Index> path = path_of(node);
            cache.truncate(prompt);
            RowMatrix<double> last;
            for (const Index i : path) {
                last.resize(0, 0);
                alone.step(drafts.row(i), cache, last);
            }
            CAPTURE(node);
            CHECK(distance(at_once.row(node), last) <= tolerance * magnitude(last));
        }
    };
    check(scaled_dot_product >> tree(parents, prompt), scaled_dot_product >> causal, 1e-14);
    check(dot_product >> soft_cap(2.0) >> tree(parents, prompt) >> softmax_with_sink(0.3),
          dot_product >> soft_cap(2.0) >> causal >> softmax_with_sink(0.3), 1e-14);
}

TEST_CASE("a rotary embedding turns a node by its depth") {
    constexpr Index prompt = 9;
    const Tree mask = tree(parents, prompt);
    Random random(3);
    RowMatrix<double> q = random_matrix<double>(random, 8, 4), k = random_matrix<double>(random, prompt + 8, 4);
    const RowMatrix<double> v = random_matrix<double>(random, prompt + 8, 3);
    const RowMatrix<double> plain_q = q, plain_k = k;
    const auto turn = [](RowMatrix<double>& x, Index row, Index position) {
        RowMatrix<double> one = x.row(row);
        Rope{}(heads(one, 1), position);
        x.row(row) = one;
    };
    for (Index j = 0; j < prompt; ++j) turn(k, j, j);
    for (Index i = 0; i < 8; ++i) turn(q, i, prompt + mask.depth(i)), turn(k, prompt + i, prompt + mask.depth(i));
    const RowMatrix<double> out = (scaled_dot_product >> mask)(q, k, v, {.query_offset = prompt});
    for (Index node = 0; node < 8; ++node) {
        const std::vector<Index> path = path_of(node);
        const Index n = prompt + std::ssize(path);
        RowMatrix<double> keys(n, 4), values(n, 3), query = plain_q.row(node);
        keys.topRows(prompt) = plain_k.topRows(prompt), values.topRows(prompt) = v.topRows(prompt);
        for (Index i = prompt; i < n; ++i) {
            keys.row(i) = plain_k.row(prompt + path[static_cast<std::size_t>(i - prompt)]);
            values.row(i) = v.row(prompt + path[static_cast<std::size_t>(i - prompt)]);
        }
        Rope{}(heads(query, 1), n - 1);
        Rope{}(heads(keys, 1));
        CHECK(distance(out.row(node), scaled_dot_product(query, keys, values)) <= 1e-14);
    }
}

TEST_CASE("a tree begins where each sequence says") {
    const Tree mask = tree({-1, 0, 0}, {2, 5});
    CHECK(!mask({.query = 4, .key = 3, .sequence = 0}));
    CHECK(mask({.query = 4, .key = 3, .sequence = 1}));
    CHECK(!mask({.query = 7, .key = 6, .sequence = 1}));
    CHECK(mask({.query = 7, .key = 6, .sequence = 0}));
    const RowMatrix<float> x = RowMatrix<float>::Ones(9, 2);
    CHECK(refusal([&] {
              (dot_product >> mask)(x, x, x, {.sequences = sequences({0, 2, 5, 9})});
          }) == "tree: begins in 2 sequences, and there are 3");
}

TEST_CASE("trees of more words than one") {
    // A comb: every third node starts a branch of two.
    std::vector<Index> comb;
    for (Index i = 0; i < 150; ++i) comb.push_back(i == 0 ? -1 : i % 3 == 0 ? i - 3 : i - 1);
    const Tree mask = tree(comb, 20);
    for (Index query = 0; query < 150; ++query) {
        for (Index key = 0; key < 150; ++key) {
            const bool trunk = key % 3 == 0 && key <= query, branch = key / 3 == query / 3 && key <= query;
            REQUIRE(mask({.query = 20 + query, .key = 20 + key}) == (trunk || branch));
        }
    }
    const Layout layout{.queries = 150, .keys = 170, .query_offset = 20};
    const Operands<double> x = random_operands(layout, 4);
    const auto by_cover = forward(scaled_dot_product >> mask, x);
    const auto by_pairs = forward(scaled_dot_product >> attend::mask([mask](const Position& p) { return mask(p); }), x);
    CHECK(distance(by_cover.out, by_pairs.out) <= 1e-15);
}

TEST_CASE("trees that are none are refused in words") {
    CHECK(refusal([] { tree({-1, 1}, 3); }) == "tree: the parent of node 1 must be a node before it, or -1, got 1");
    CHECK(refusal([] { tree({-1, -2}, 3); }) == "tree: the parent of node 1 must be a node before it, or -1, got -2");
    CHECK(refusal([] { tree({-1}, std::vector<Index>()); }) == "tree: needs the position where it begins");
    CHECK(refusal([] { tree({-1}, Index(1) << 60); }).starts_with("tree: begin must be from"));
    CHECK(refusal([] { tree(std::vector<Index>(20000, -1), 0); }) == "tree: 20000 nodes are more than 16384");
}

}  // namespace test_tree

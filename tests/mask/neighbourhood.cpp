#include <attend/mask/neighbourhood.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <attend/core/executor.hpp>
#include <attend/mask/causal.hpp>
#include <attend/mask/lambda.hpp>
#include <attend/modifier/alibi.hpp>
#include <attend/normalizer/entmax15.hpp>
#include <attend/normalizer/sigmoid.hpp>
#include <attend/normalizer/sink.hpp>
#include <attend/source/kv_cache.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/covers.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_neighbourhood {
namespace {

struct Case {
    GridSize grid;
    GridRadius radius;
    Border border = Border::cut;

    Index size() const { return grid.rows * grid.columns * grid.depth; }
    auto library() const { return neighbourhood(grid, radius, border); }
    /// Whether y is in the window of x, which is the one of its width around x, or of those inside the line the
    /// nearest.
    bool sees(Index x, Index y, Index n, Index r) const {
        if (border == Border::shift && 2 * r + 1 <= n) {
            Index nearest = 0;
            for (Index begin = 0; begin + 2 * r + 1 <= n; ++begin)
                if (std::abs(begin + r - x) < std::abs(nearest + r - x)) nearest = begin;
            return nearest <= y && y <= nearest + 2 * r;
        }
        return border == Border::shift || std::abs(x - y) <= r;
    }
    bool operator()(const Position& p) const {
        if (p.query < 0 || p.query >= size() || p.key < 0 || p.key >= size()) return false;
        const Index q_line = p.query / grid.columns, k_line = p.key / grid.columns;
        return sees(p.query % grid.columns, p.key % grid.columns, grid.columns, radius.columns) &&
               sees(q_line % grid.rows, k_line % grid.rows, grid.rows, radius.rows) &&
               sees(q_line / grid.rows, k_line / grid.rows, grid.depth, radius.depth);
    }
    auto by_pairs() const {
        return mask([*this](Position p) { return (*this)(p); });
    }
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const Border border : {Border::cut, Border::shift}) {
        all.push_back({{.rows = 5, .columns = 7}, {.rows = 1, .columns = 2}, border});
        all.push_back({{.rows = 12, .columns = 20}, {.rows = 3, .columns = 3}, border});
        all.push_back({{.rows = 3, .columns = 50}, {.rows = 0, .columns = 6}, border});
        all.push_back({{.rows = 40, .columns = 1}, {.rows = 4, .columns = 9}, border});
        all.push_back({{.rows = 4, .columns = 5, .depth = 6}, {.rows = 1, .columns = 1, .depth = 2}, border});
        all.push_back({{.rows = 30, .columns = 4}, {.rows = 40, .columns = 1}, border});  // more runs than a list has
        all.push_back({{.rows = 1, .columns = 150}, {.columns = 70}, border});            // and more keys than a batch
        all.push_back({{.rows = 140, .columns = 3}, {.rows = 70}, border});
    }
    return all;
}

/// Everything that two attentions make of the same operands is the same but for rounding.
template <class A, class B>
void check_alike(const A& a, const B& b, const Operands<double>& x) {
    const auto y = forward(a, x), expected = forward(b, x);
    CHECK(distance(y.out, expected.out) < 1e-14);
    CHECK(distance(y.lse, expected.lse) < 1e-13);
    CHECK(distance(y.weights, expected.weights) < 1e-14);
    const auto d = backward(a, x);
    const auto d_expected = backward(b, x);
    CHECK(distance(d.dq, d_expected.dq) < 1e-13);
    CHECK(distance(d.dk, d_expected.dk) < 1e-13);
    CHECK(distance(d.dv, d_expected.dv) < 1e-13);
    CHECK(distance(parameters_of(d.parameters), parameters_of(d_expected.parameters)) < 1e-12);
}

}  // namespace

TEST_CASE("a neighbourhood is what lies within the radii along each axis, or the nearest window inside the grid") {
    for (const Case& c : cases()) {
        const auto library = c.library();
        for (Index query = -3; query < c.size() + 3; ++query) {
            for (Index key = 0; key < c.size() + 5; ++key) {
                const Position p{.query = query, .key = key};
                if (library(p) != c(p)) FAIL("query " << query << " and key " << key);
            }
        }
    }
    const auto shifted = neighbourhood({.rows = 8, .columns = 9}, {.rows = 1, .columns = 2}, Border::shift);
    for (Index query = 0; query < 72; ++query) {
        Index seen = 0;
        for (Index key = 0; key < 72; ++key) seen += shifted({.query = query, .key = key}) ? 1 : 0;
        REQUIRE(seen == 15);
    }
}

TEST_CASE("a neighbourhood knows the cover of every tile exactly, and lists the keys of a query") {
    Random random(1);
    for (const Case& c : cases()) {
        const auto library = c.library();
        const auto both = library & mask([](Position p) { return p.key % 3 != 0; });
        const auto other = causal & library;
        for (int round = 0; round < 200; ++round) {
            Tile tile = random_tile(random);
            const Index shift = random_index(random, 0, std::max<Index>(0, c.size() - 30));
            tile.query_begin += shift, tile.query_end += shift;
            tile.key_begin += random_index(random, 0, shift),
                tile.key_end = tile.key_begin + random_index(random, 1, 70);
            REQUIRE(library.cover(tile) == exact_cover(library, tile));
            const auto check_runs = [&](const auto& any) {
                std::vector<Index> listed, seen;
                const RowPosition row{.query = tile.query_begin};
                any.for_each_run(row, KeySpan{tile.key_begin, tile.key_end}, [&](const KeySpan& run) {
                    for (Index key = run.begin; key < run.end; ++key) listed.push_back(key);
                });
                for (Index key = tile.key_begin; key < tile.key_end; ++key)
                    if (any(row.at(key))) seen.push_back(key);
                REQUIRE(listed == seen);
            };
            check_runs(library), check_runs(both), check_runs(other);
        }
    }
}

TEST_CASE("an attention over neighbourhoods is that of a predicate, forward and backward") {
    std::uint64_t seed = 2;
    for (const Case& c : cases()) {
        CAPTURE(c.grid.rows, c.grid.columns, c.grid.depth, c.border == Border::cut);
        const auto x = random_operands({.queries = c.size(), .keys = c.size(), .heads = 2, .kv_heads = 1}, ++seed);
        check_alike(scaled_dot_product >> c.library(), scaled_dot_product >> c.by_pairs(), x);
    }
}

TEST_CASE("neighbourhoods go with other parts, positions and sequences, with dropout and caches") {
    const Case c = cases()[1];
    const auto thinned = [](const auto& m) { return m & mask([](Position p) { return p.key % 5 != p.query % 3; }); };
    const auto check = [&](const auto& with, const Operands<double>& x) {
        check_alike(with(thinned(c.library())), with(thinned(c.by_pairs())), x);
        check_alike(with(c.library() | causal), with(c.by_pairs() | causal), x);
    };
    auto x = random_operands({.queries = 240, .keys = 240, .d_q = 19, .d_k = 19, .d_v = 17}, 20);
    check([](const auto& m) { return scaled_dot_product >> alibi(0.05) >> m >> softmax_with_sink(0.2); }, x);
    x.layout.dropout = {.rate = 0.3, .seed = 5};
    check([](const auto& m) { return dot_product >> m; }, x);
    check([](const auto& m) { return scaled_dot_product >> m >> sigmoid(-1.0); },
          random_operands({.queries = 100, .keys = 240, .query_offset = 101}, 21));
    check([](const auto& m) { return scaled_dot_product >> m >> entmax15; },
          random_operands({.queries = 70, .keys = 200, .query_offset = -9}, 22));
    check([](const auto& m) { return scaled_dot_product >> m; }, random_operands({.queries = 330,
                                                                                  .keys = 500,
                                                                                  .heads = 4,
                                                                                  .kv_heads = 2,
                                                                                  .sequences = {0, 1, 81, 330},
                                                                                  .key_sequences = {0, 9, 260, 500}},
                                                                                 23));
    for (const Index queries : {1, 2, 3, 5, 17}) {
        check([](const auto& m) { return scaled_dot_product >> m; },
              random_operands({.queries = queries, .keys = 240, .heads = 2, .query_offset = 60}, 24));
    }

    std::vector<Index> positions;
    for (Index i = 0; i < 200; ++i) positions.push_back((i * 37) % 241 - 1);
    x = random_operands({.queries = 200, .keys = 240}, 25);
    RowMatrix<double> out, expected;
    (scaled_dot_product >> c.library())(x.q, x.k, x.v, out, {.query_positions = positions});
    (scaled_dot_product >> c.by_pairs())(x.q, x.k, x.v, expected, {.query_positions = positions});
    CHECK(distance(out, expected) < 1e-14);

    KvCache<float> cache({.heads = 1, .d_k = 3, .d_v = 2, .capacity = 240});
    cache.append(x.k.cast<float>().eval(), x.v.cast<float>().eval());
    const RowMatrix<float> q = x.q.cast<float>();
    const RowMatrix<float> near = (scaled_dot_product >> c.library())(q, cache);
    CHECK(distance(near, (scaled_dot_product >> c.by_pairs())(q, cache)) < 1e-6);
}

TEMPLATE_TEST_CASE("a row over neighbourhoods has the same bits whatever the threads and what else is asked", "", float,
                   double, Eigen::half, Eigen::bfloat16) {
    using T = TestType;
    const auto attention = scaled_dot_product >> neighbourhood({.rows = 9, .columns = 30}, {.rows = 2, .columns = 4});
    const auto x = random_operands<T>(
        {.queries = 270, .keys = 270, .d_q = 33, .d_k = 33, .d_v = 40, .heads = 2, .kv_heads = 2}, 26);
    const auto y = forward(attention, x);
    RowMatrix<T> alone;
    attention(x.query_heads(), x.key_heads(), x.value_heads(), alone, {});
    CHECK(same_bits(alone, y.out));
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> k = x.k, v = x.v;  // column-major
    RowMatrix<T> of_columns;
    attention(x.query_heads(), heads(k, 2), heads(v, 2), of_columns, {});
    CHECK(same_bits(of_columns, y.out));
#if defined(_OPENMP)
    CHECK(first_difference(forward(attention, x, openmp(3)), y).empty());
    CHECK(first_difference(backward(attention, x, openmp(3)), backward(attention, x)).empty());
#endif
}

TEMPLATE_TEST_CASE("a small call over neighbourhoods has the bits of one that asks for the weights", "", float,
                   double) {
    const auto attention = scaled_dot_product >> neighbourhood({.rows = 12, .columns = 12}, {.rows = 2, .columns = 3});
    const auto check = [&](const auto& composed, Index queries, Index keys, Index width, Index d_v) {
        CAPTURE(queries, keys, width, d_v);
        const auto x = random_operands<TestType>(
            {.queries = queries, .keys = keys, .d_q = width, .d_k = width, .d_v = d_v, .heads = 3, .kv_heads = 1}, 27);
        const auto y = forward(composed, x);
        RowMatrix<TestType> out, lse;
        composed(x.query_heads(), x.key_heads(), x.value_heads(), out, {.lse = lse});
        CHECK(same_bits(out, y.out));
        CHECK(same_bits(lse, y.lse));
        const auto one =
            random_operands<TestType>({.queries = queries, .keys = keys, .d_q = width, .d_k = width, .d_v = d_v}, 28);
        CHECK(same_bits(composed(one.q, one.k, one.v), forward(composed, one).out));
    };
    for (const Index queries : {1, 2, 3, 7}) {
        for (const Index keys : {1, 4, 13, 15, 64}) {
            for (const Index width : {1, 3, 14, 32, 64}) {
                check(attention, queries, keys, width, width % 17 + 1);
                check(attention >> softmax_with_sink(0.5), queries, keys, width, width);
            }
        }
    }
}

TEST_CASE("what is not finite outside a neighbourhood reaches nothing, and shows inside") {
    const auto library = neighbourhood({.rows = 9, .columns = 11}, {.rows = 1, .columns = 2});
    const auto x = random_operands<float>({.queries = 99, .keys = 99, .d_q = 20, .d_k = 20, .d_v = 18}, 27);
    const auto attention = scaled_dot_product >> library;
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        auto poisoned = x;
        poisoned.k.row(48).setConstant(bad);
        poisoned.v.row(48).setConstant(bad);
        const auto z = forward(attention, poisoned);
        const auto dz = backward(attention, poisoned);
        for (Index query = 0; query < 99; ++query) {
            CAPTURE(query);
            if (library({.query = query, .key = 48})) {
                CHECK_FALSE(z.out.row(query).allFinite());
            } else {
                CHECK(same_bits(z.out.row(query), y.out.row(query)));
                CHECK(same_bits(z.lse.row(query), y.lse.row(query)));
                CHECK(same_bits(dz.dq.row(query), d.dq.row(query)));
            }
        }
    }
}

TEST_CASE("grids without tokens and negative radii are refused") {
    CHECK(refusal([] { neighbourhood({.rows = 0, .columns = 4}, {}); }) ==
          "neighbourhood: a grid must have tokens along each axis and fewer than 2^31 in all, got 0 rows, 4 columns "
          "and a "
          "depth of 1");
    CHECK(refusal([] { neighbourhood({.rows = Index(1) << 20, .columns = Index(1) << 11}, {}); }) ==
          "neighbourhood: a grid must have tokens along each axis and fewer than 2^31 in all, got 1048576 rows, 2048 "
          "columns and a depth of 1");
    CHECK(refusal([] { neighbourhood({.rows = 4, .columns = 4}, {.rows = 1, .columns = -1}); }) ==
          "neighbourhood: radii must be at least 0, got 1 rows, -1 columns and a depth of 0");
}

}  // namespace test_neighbourhood

#include <attend/attend.hpp>

#include <limits>
#include <string>
#include <vector>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/covers.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_compiled {
namespace {

Shape shape_of(const Layout& x) {
    return {.sequences = x.sequences.empty() ? 1 : std::ssize(x.sequences) - 1,
            .heads = x.heads,
            .kv_heads = x.kv_heads,
            .queries = x.sequences.empty() ? x.queries : 90,
            .keys = x.sequences.empty() ? x.keys : 90,
            .query_offset = x.query_offset};
}

/// Every kind of dependence on the position; hides whole squares, parts of them, and a query.
bool keeps(const Position& p) {
    if (p.row == 3) return false;
    const bool near = p.key <= p.query && p.query - p.key < 40 + 8 * p.head;
    return near ? (p.key * 7 + p.sequence) % 5 != 0 : (p.key / 16 + p.query / 32 + p.kv_head) % 4 == 1;
}

}  // namespace

TEST_CASE("a compiled mask is the mask, to the last bit, forward and backward") {
    for (const Layout& layout :
         {Layout{.queries = 100, .keys = 131, .d_q = 8, .d_k = 8, .d_v = 8, .query_offset = 31},
          Layout{.queries = 70, .keys = 70, .heads = 4, .kv_heads = 2},
          Layout{.queries = 3, .keys = 300, .query_offset = 297},
          Layout{.queries = 140, .keys = 140, .heads = 2, .kv_heads = 1, .sequences = {0, 90, 90, 140}},
          Layout{.queries = 1, .keys = 1}, Layout{.queries = 5, .keys = 0}}) {
        CAPTURE(layout.queries, layout.keys);
        const Operands<float> x = random_operands<float>(layout, 1);
        const auto asked = scaled_dot_product >> mask(keeps);
        const auto kept = scaled_dot_product >> compiled(mask(keeps), shape_of(layout));
        CHECK(first_difference(forward(kept, x), forward(asked, x)) == "");
        const auto a = backward(kept, x);
        const auto b = backward(asked, x);
        CHECK((same_bits(a.dq, b.dq) && same_bits(a.dk, b.dk) && same_bits(a.dv, b.dv)));
    }
}

TEST_CASE("of a compiled mask every square is known, and every packet of queries") {
    const auto mask = compiled(causal, {.queries = 200, .keys = 130});
    const auto tile = [](Index row, Index rows, Index key, Index keys) {
        return Tile{row, row + rows, key, key + keys, row, 0, 0, 0};
    };
    CHECK(mask.cover(tile(0, 64, 64, 64)) == Cover::none);
    CHECK(mask.cover(tile(64, 64, 0, 64)) == Cover::all);
    CHECK(mask.cover(tile(64, 136, 0, 64)) == Cover::all);
    CHECK(mask.cover(tile(64, 16, 64, 16)) == Cover::some);
    for (Index row = 0; row < 200; ++row) {
        for (const Index rows : {1, 2, 7, 16, 33, 64}) {
            for (const Index key : {0, 1, 63, 64, 100, 129}) {
                if (row + rows <= 200)
                    CHECK(mask.cover(tile(row, rows, key, 1)) == exact_cover(causal, tile(row, rows, key, 1)));
            }
        }
    }
}

TEST_CASE("a compiled mask serves one shape, and says so") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 6}, 2);
    CHECK(refusal([&] { forward(dot_product >> compiled(causal, {.queries = 5, .keys = 6}), x); }) ==
          "compiled mask: made for 1 sequences, 1 heads in 1, 5 queries from 0 on and 6 keys, and called with 1, 1 in "
          "1, 4 "
          "from 0 on and 6");
    CHECK(refusal([&] { compiled(causal, {.heads = 3, .kv_heads = 2, .queries = 5, .keys = 6}); }) ==
          "compiled: the shape needs sequences, heads, kv_heads that divide them, queries and keys");
    CHECK(refusal([&] {
              compiled(causal,
                       {.queries = attend::detail::most_position / 2, .keys = attend::detail::most_position / 2});
          }).find("more pairs") != std::string::npos);
    CHECK(refusal([&] {
              compiled(causal, {.queries = 1, .keys = 1, .query_offset = std::numeric_limits<Index>::max()});
          }).starts_with("compiled: query_offset must be from"));
    CHECK(refusal([&] { compiled(dense_mask(RowMatrix<bool>::Constant(2, 2, true)), {.queries = 5, .keys = 6}); }) ==
          "dense_mask (2x2) must be 5x6: a row a query, a column a key");
}

TEST_CASE("a compiled mask without queries or keys hides nothing of nothing") {
    const RowMatrix<float> none(0, 4), some = RowMatrix<float>::Constant(5, 4, 1);
    CHECK((scaled_dot_product >> compiled(causal, {.queries = 0, .keys = 5}))(none, some, some).rows() == 0);
    CHECK((scaled_dot_product >> compiled(causal, {.queries = 5, .keys = 0}))(some, none, none).isZero(0));
}

}  // namespace test_compiled

#include <attend/interchange/torch_masks.hpp>

#include <limits>

#include <attend/attention.hpp>
#include <attend/mask/causal.hpp>
#include <attend/mask/lambda.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/covers.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_torch_masks {
namespace {

RowMatrix<bool> random_booleans(Random& random, Index rows, Index columns) {
    return RowMatrix<bool>::NullaryExpr(rows, columns, [&] { return random.uniform() < 0.4; });
}

/// Rows of 7 queries and 40 keys each, of three sequences and four heads.
const Layout layout{.queries = 21,
                    .keys = 120,
                    .heads = 4,
                    .kv_heads = 2,
                    .sequences = {0, 7, 14, 21},
                    .key_sequences = {0, 40, 80, 120}};

}  // namespace

TEST_CASE("true in a padding mask is absent: what it hides is not looked at, and all else is") {
    Random random(1);
    const auto x = random_operands(layout, 2);
    RowMatrix<bool> absent = random_booleans(random, 3, 40);
    absent.row(1).setConstant(true);
    absent.row(2).setConstant(false);
    const RowMatrix<bool> keep = !absent.array();
    const auto mask = torch_key_padding_mask(absent);
    const auto ours = scaled_dot_product >> dense_mask(strided(keep.data(), {3, 1, 1, 40}, {40, 0, 0, 1}));
    const auto theirs = scaled_dot_product >> mask;
    CHECK(first_difference(forward(theirs, x), forward(ours, x)).empty());
    CHECK(forward(theirs, x).out.middleRows(7, 7).isZero(0));
    auto hidden = x;
    for (Index s = 0; s < 3; ++s) {
        for (Index j = 0; j < 40; ++j) {
            if (!absent(s, j)) continue;
            hidden.k.row(40 * s + j).setConstant(std::numeric_limits<double>::quiet_NaN());
            hidden.v.row(40 * s + j).setConstant(std::numeric_limits<double>::infinity());
        }
    }
    CHECK(first_difference(forward(theirs, hidden), forward(theirs, x)).empty());
    for (int i = 0; i < 500; ++i) {
        const Tile tile = random_tile(random);
        CHECK(cover_of(mask, tile) == exact_cover(mask, tile));
    }
}

TEST_CASE("an attention mask of booleans hides what is true, one of numbers is added") {
    Random random(3);
    const auto x = random_operands(layout, 4);
    RowMatrix<bool> absent = random_booleans(random, 7, 40);
    absent.row(2).setConstant(true);
    const auto hides = scaled_dot_product >> torch_attn_mask(absent);
    const auto ours = scaled_dot_product >> mask([&](Position p) { return !absent(p.row, p.key); });
    CHECK(first_difference(forward(hides, x), forward(ours, x)).empty());

    const RowMatrix<double> added = random_matrix<double>(random, 7, 40, 3.0);
    const auto adds = scaled_dot_product >> torch_attn_mask(added);
    const auto biased = scaled_dot_product >> bias(added);
    CHECK(distance(forward(adds, x).out, forward(biased, x).out) < 1e-14);
    CHECK(distance(backward(adds, x).dk, backward(biased, x).dk) < 1e-13);
    CHECK(parameters_of(adds).size() == 0);  // it does not train, and stands in no file

    SECTION("minus infinity is absent, also of a whole row") {
        const RowMatrix<float> none = absent.select(
            RowMatrix<float>::Constant(7, 40, -std::numeric_limits<float>::infinity()), RowMatrix<float>::Zero(7, 40));
        const auto y = forward(scaled_dot_product >> torch_attn_mask(none), x), expected = forward(hides, x);
        CHECK(distance(y.out, expected.out) < 1e-14);
        CHECK(y.out.row(2).isZero(0));
    }
    SECTION("PyTorch's memory of a mask for each sequence and head is read in place") {
        const RowMatrix<bool> all = random_booleans(random, 3 * 4 * 7, 40);
        const auto view = strided(all.data(), {3, 4, 7, 40}, {4 * 7 * 40, 7 * 40, 40, 1});
        const auto pairs =
            scaled_dot_product >> mask([&](Position p) { return !all((p.sequence * 4 + p.head) * 7 + p.row, p.key); });
        CHECK(first_difference(forward(scaled_dot_product >> torch_attn_mask(view), x), forward(pairs, x)).empty());
        const RowMatrix<double> values = random_matrix<double>(random, 4 * 7, 40);
        const auto of_heads = strided(values.data(), {1, 4, 7, 40}, {0, 7 * 40, 40, 1});
        CHECK(first_difference(forward(scaled_dot_product >> torch_attn_mask(of_heads), x),
                               forward(scaled_dot_product >> bias(of_heads), x))
                  .empty());
    }
}

TEST_CASE("both masks go together, for few queries and for many") {
    Random random(5);
    for (const Index queries : {1, 3, 70}) {
        const Layout one{.queries = queries, .keys = 150, .heads = 2, .kv_heads = 2};
        const auto x = random_operands<float>(one, 6);
        const RowMatrix<bool> padding = random_booleans(random, 1, 150), pairs = random_booleans(random, queries, 150);
        const auto theirs = scaled_dot_product >> (torch_key_padding_mask(padding) & torch_attn_mask(pairs) & causal);
        const auto ours = scaled_dot_product >> mask([&](Position p) {
                              return !padding(0, p.key) && !pairs(p.row, p.key) && p.key <= p.query;
                          });
        auto at = x;
        at.layout.query_offset = 80;
        CHECK(first_difference(forward(theirs, at), forward(ours, at)).empty());
        const auto d = backward(theirs, at);
        const auto expected = backward(ours, at);
        CHECK(same_bits(d.dq, expected.dq));
        CHECK(same_bits(d.dk, expected.dk));
        CHECK(same_bits(d.dv, expected.dv));
    }
}

TEST_CASE("masks of another shape are refused") {
    const auto x = random_operands(layout, 7);
    const auto refused = [&](const auto& part) { return refusal([&] { forward(scaled_dot_product >> part, x); }); };
    CHECK(refused(torch_key_padding_mask(RowMatrix<bool>::Constant(3, 39, false))) ==
          "key_padding_mask (3x39) must be 3x40: a row a sequence, a column a key");
    CHECK(refused(torch_key_padding_mask(RowMatrix<bool>::Constant(1, 40, false))) ==
          "key_padding_mask (1x40) must be 3x40: a row a sequence, a column a key");
    CHECK(refused(torch_attn_mask(RowMatrix<double>::Zero(40, 7))) ==
          "attn_mask (40x7) must be 7x40: a row a query, a column a key");
    CHECK_FALSE(refused(torch_attn_mask(RowMatrix<bool>::Constant(40, 7, false))).empty());
}

}  // namespace test_torch_masks

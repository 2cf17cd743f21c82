// Weights of chosen rows are those of all rows, to the bit, whatever makes them and however the batch is laid out.

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_weight_rows {
namespace {

template <class T, class A>
void check(const A& attention, const Layout& layout, const std::vector<Index>& chosen) {
    CAPTURE(layout.queries, layout.keys, chosen.size());
    const Operands<T> x = random_operands<T>(layout, 1);
    const Outputs<T> y = forward(attention, x);
    RowMatrix<T> out, weights;
    attention(x.query_heads(), x.key_heads(), x.value_heads(), out,
              {.weights = weights,
               .weight_rows = query_rows(chosen),
               .query_offset = layout.query_offset,
               .sequences = attend::detail::SequencesRef(std::span(layout.sequences)),
               .key_sequences = attend::detail::SequencesRef(std::span(layout.key_sequences)),
               .dropout = layout.dropout});
    CHECK(same_bits(out, y.out));
    const Index count = std::ssize(chosen);
    REQUIRE(weights.rows() == layout.heads * count);
    for (Index head = 0; head < layout.heads; ++head) {
        for (Index i = 0; i < count; ++i) {
            const Index row = chosen[static_cast<std::size_t>(i)];
            CHECK(same_bits(RowMatrix<T>(weights.row(head * count + i)),
                            RowMatrix<T>(y.weights.row(head * layout.queries + row))));
        }
    }
}

}  // namespace

TEMPLATE_TEST_CASE("chosen rows of the weights are rows of all weights", "", float, double) {
    const Layout grouped{.queries = 150, .keys = 150, .d_q = 8, .d_k = 8, .d_v = 5, .heads = 4, .kv_heads = 2};
    for (const std::vector<Index>& rows : {std::vector<Index>{}, {0}, {149}, {3, 64, 65, 100}}) {
        check<TestType>(scaled_dot_product >> causal, grouped, rows);
        check<TestType>(scaled_dot_product >> sigmoid(-1.0), grouped, rows);
        check<TestType>(scaled_dot_product >> sparsemax, grouped, rows);
    }
    check<TestType>(scaled_dot_product, {.queries = 3, .keys = 2500, .heads = 4, .kv_heads = 2}, {0, 2});
    check<TestType>(scaled_dot_product >> softmax_with_sink(0.5), {.queries = 1, .keys = 70, .heads = 4, .kv_heads = 1},
                    {0});
    check<TestType>(scaled_dot_product >> causal,
                    {.queries = 9,
                     .keys = 12,
                     .heads = 2,
                     .sequences = {0, 3, 3, 5, 9},
                     .key_sequences = {0, 5, 7, 7, 12},
                     .dropout = {0.3, 4}},
                    {1, 2, 4, 8});
}

TEST_CASE("of a strided batch they are the same rows of each sequence") {
    Random random(2);
    const RowMatrix<float> x = random_matrix<float>(random, 3 * 6, 4);
    const auto batch = [&](const RowMatrix<float>& rows) { return strided(rows.data(), {3, 2, 6, 2}, {24, 2, 4, 1}); };
    RowMatrix<float> out(18, 4), all, some;
    const auto view = strided(out.data(), {3, 2, 6, 2}, {24, 2, 4, 1});
    scaled_dot_product(batch(x), batch(x), batch(x), view, {.weights = all});
    scaled_dot_product(batch(x), batch(x), batch(x), view, {.weights = some, .weight_rows = query_rows({1, 5})});
    REQUIRE(some.rows() == 2 * 3 * 2);
    for (Index head = 0; head < 2; ++head) {
        for (Index s = 0; s < 3; ++s) {
            for (Index i = 0; i < 2; ++i) {
                const Index row = i == 0 ? 1 : 5;
                CHECK(same_bits(RowMatrix<float>(some.row((head * 3 + s) * 2 + i)),
                                RowMatrix<float>(all.row((head * 3 + s) * 6 + row))));
            }
        }
    }
}

TEST_CASE("rows that are not there are refused in words") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 5}, 1);
    RowMatrix<double> out = RowMatrix<double>::Constant(4, 2, 7.0), weights, wrong(3, 5);
    const auto with = [&](const QueryRows& rows, Output<double> to) {
        return [&x, &out, rows, to] { dot_product(x.q, x.k, x.v, out, {.weights = to, .weight_rows = rows}); };
    };
    CHECK(refusal(with(query_rows({1, 4}), weights)) == "weights: there is no row 4 of q (4x3)");
    CHECK(refusal(with(query_rows({1, 2}), wrong)) == "weights (3x5) must be 2x5, or empty to be resized");
    CHECK(refusal(with(query_rows({1}), {})) == "weights: rows of them are named, but no memory is given for them");
    CHECK(refusal([&] { query_rows({2, 2}); }) == "query_rows: rows must rise from 0 on, but row 2 is number 1");
    CHECK(refusal([&] { query_rows({-1}); }) == "query_rows: rows must rise from 0 on, but row -1 is number 0");
    CHECK((out.array() == 7).all());
}

}  // namespace test_weight_rows

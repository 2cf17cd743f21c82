// Law 4 of queries that do not follow each other: what a row gives depends on its own position, wherever it stands.

#include <attend/attend.hpp>

#include <algorithm>
#include <numeric>
#include <vector>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_query_positions {
namespace {

using Positions = std::vector<Index>;

/// An order of rows within each sequence: of runs that rise, that fall and of none.
Positions shuffled(const Layout& layout, std::uint64_t seed) {
    Random random(seed);
    Positions order(static_cast<std::size_t>(layout.queries));
    std::iota(order.begin(), order.end(), 0);
    const std::vector<Index> cuts = layout.sequences.empty() ? std::vector<Index>{0, layout.queries} : layout.sequences;
    for (std::size_t s = 0; s + 1 < cuts.size(); ++s) {
        const Index middle = (cuts[s] + cuts[s + 1]) / 2;
        for (Index i = middle; i < cuts[s + 1]; ++i)
            std::swap(order[static_cast<std::size_t>(i)],
                      order[static_cast<std::size_t>(random_index(random, cuts[s], cuts[s + 1] - 1))]);
        std::reverse(order.begin() + cuts[s], order.begin() + (cuts[s] + middle) / 2);
    }
    return order;
}
/// Where these rows stand when they are in order.
Positions positions_of(const Layout& layout, const Positions& order) {
    Positions positions;
    for (const Index row : order) {
        Index begin = 0;
        for (const Index cut : layout.sequences) begin = cut <= row ? cut : begin;
        positions.push_back(layout.query_offset + row - begin);
    }
    return positions;
}
template <class Matrix>
Matrix rows(const Matrix& x, const Positions& order) {
    return x(order, Eigen::all);
}

template <class A, class T>
void check(const A& attention, const Operands<T>& x, std::uint64_t seed, double rounding) {
    const Layout& layout = x.layout;
    CAPTURE(layout.queries, layout.heads, layout.sequences.size());
    const Positions order = shuffled(layout, seed), positions = positions_of(layout, order);
    const attend::detail::SequencesRef sequences{std::span(layout.sequences)},
        key_sequences{std::span(layout.key_sequences)};
    const Outputs<T> y = forward(attention, x);
    const auto d = backward(attention, x);
    Outputs<T> z;
    Gradients<T, A> e{.parameters = zero_gradient(attention)};
    const RowMatrix<T> q = rows(x.q, order), dout = rows(x.dout, order);
    attention(heads(q, layout.heads), x.key_heads(), x.value_heads(), z.out,
              {.lse = z.lse,
               .query_positions = positions,
               .sequences = sequences,
               .key_sequences = key_sequences,
               .dropout = layout.dropout});
    CHECK(same_bits(z.out, rows(y.out, order)));
    CHECK(same_bits(z.lse, rows(y.lse, order)));
    attention.backward(heads(q, layout.heads), x.key_heads(), x.value_heads(), heads(z.out, layout.heads), z.lse,
                       heads(dout, layout.heads), e.dq, e.dk, e.dv,
                       {.gradient = &e.parameters,
                        .query_positions = positions,
                        .sequences = sequences,
                        .key_sequences = key_sequences,
                        .dropout = layout.dropout});
    CHECK(same_bits(e.dq, rows(d.dq, order)));
    CHECK(distance(e.dk, d.dk) <= rounding * magnitude(d.dk));
    CHECK(distance(e.dv, d.dv) <= rounding * magnitude(d.dv));
    if (parameters_of(d.parameters).size() > 0)
        CHECK(distance(parameters_of(e.parameters), parameters_of(d.parameters)) <=
              100 * rounding * magnitude(parameters_of(d.parameters)));
}
template <class A>
void check_all(const A& attention) {
    for (const Index queries : {1, 3, 11, 40, 150}) {
        const Layout layout{.queries = queries, .keys = 130, .heads = 4, .kv_heads = 2, .query_offset = 17};
        check(attention, random_operands<float>(layout, 1), 2, 4e-6);
        check(attention, random_operands<double>(layout, 3), 4, 1e-14);
    }
    Layout ragged{.queries = 90,
                  .keys = 150,
                  .heads = 2,
                  .query_offset = 5,
                  .sequences = {0, 2, 12, 90},
                  .key_sequences = {0, 70, 71, 150}};
    check(attention, random_operands<float>(ragged, 5), 6, 4e-6);
    ragged.dropout = {.rate = 0.3, .seed = 7};
    check(attention, random_operands<double>(ragged, 8), 9, 1e-14);
}

}  // namespace

TEST_CASE("queries in another order give what they give in order") {
    check_all(scaled_dot_product >> alibi(0.1) >> (causal & sliding_window(40)));
    check_all(dot_product >>
              modifier([](auto s, auto p) { return s - decltype(s)(0.01) * abs(decltype(s)(p.query - p.key)); }) >>
              mask([](Position p) { return (p.query + p.key) % 3 != 0; }) >> softmax_with_sink(0.4));
    check_all(scaled_dot_product >> documents({0, 30, 64, 120, 200}) >> sparsemax);
}
TEST_CASE("so they do with other parts that know positions") {
    check_all(scaled_dot_product >> adaptive_span(20.0, 5.0) >> prefix(90) >> sigmoid(-1.0));
    Random random(10);
    check_all(dot_product >> relative_bias(random_matrix<double>(random, 32, 1)) >> tree({-1, 0, 0, 1, 2, 2, 3}, 20));
}

TEST_CASE("queries that stand at one position give what each gives alone") {
    const auto attention = scaled_dot_product >> alibi(0.05) >> (causal & sliding_window(70));
    const Layout layout{.queries = 70, .keys = 100, .heads = 4, .kv_heads = 2};
    const Operands<double> x = random_operands(layout, 11);
    const Positions positions(70, 81);
    RowMatrix<double> out;
    attention(x.query_heads(), x.key_heads(), x.value_heads(), out, {.query_positions = positions});
    for (Index i = 0; i < 70; ++i) {
        const RowMatrix<double> q = x.q.row(i);
        const RowMatrix<double> alone = attention(heads(q, 4), x.key_heads(), x.value_heads(), {.query_offset = 81});
        CHECK(distance(out.row(i), alone) <= 1e-14);
    }
}

TEST_CASE("positions go before those of a source, and through batches, calls of a few and prepared keys") {
    const auto attention = scaled_dot_product >> alibi(0.1) >> causal;
    const Layout layout{.queries = 4, .keys = 12};
    const Operands<double> x = random_operands(layout, 12);
    const Positions positions{9, 2, 2, 30};
    RowMatrix<double> expected(4, 2);
    for (Index i = 0; i < 4; ++i)
        expected.row(i) = attention(x.q.row(i), x.k, x.v, {.query_offset = positions[static_cast<std::size_t>(i)]});
    CHECK(distance(attention(x.q, x.k, x.v, {.query_positions = positions}), expected) <= 1e-15);
    KvCache<double> cache({.heads = 1, .d_k = 3, .d_v = 2, .capacity = 12});
    cache.append(x.k, x.v);
    CHECK(distance(attention(x.q, cache, {.query_positions = positions}), expected) <= 1e-15);
    const auto memory = attention.prepare(x.k, x.v);
    RowMatrix<double> out;
    memory(x.q, out, {.query_positions = positions});
    CHECK(distance(out, expected) <= 1e-15);

    // Two sequences of two rows over the same keys.
    const auto batch = strided(x.q.data(), {2, 1, 2, 3}, {6, 0, 3, 1});
    const auto keys = strided(x.k.data(), {2, 1, 12, 3}, {0, 0, 3, 1}),
               values = strided(x.v.data(), {2, 1, 12, 2}, {0, 0, 2, 1});
    CHECK(distance(attention(batch, keys, values, {.query_positions = positions}), expected) <= 1e-15);
}

TEST_CASE("positions that do not fit are refused in words") {
    const RowMatrix<double> x = RowMatrix<double>::Ones(4, 2);
    const auto with = [&](const auto& attention, const Positions& positions, Index offset) {
        return refusal([&] { attention(x, x, x, {.query_offset = offset, .query_positions = positions}); });
    };
    CHECK(with(dot_product, {1, 2, 3}, 0) == "query_positions holds 3 positions, but q (4x2) has 4 rows");
    CHECK(with(dot_product, {1, 2, 3, 4}, 1) ==
          "query_offset: query_positions says where each query stands: leave it out");
    CHECK(with(dot_product, {1, 2, 3, Index(1) << 60}, 0).starts_with("query_positions must be from"));
    CHECK(with(dot_product >> compiled(causal, {.queries = 4, .keys = 4}), {1, 2, 3, 4}, 0) ==
          "compiled mask: made for queries that follow each other, and called with query_positions");
}

}  // namespace test_query_positions

// Attention rollout against products of explicit matrices in double.

#include <attend/insight/rollout.hpp>

#include <support/refusal.hpp>

#include "known_weights.hpp"

using namespace attend;
using namespace attend::test;

namespace test_rollout {

TEMPLATE_TEST_CASE("rollout is a row of the product over layers", "", float, double) {
    using T = TestType;
    constexpr Index n = 300, layers = 4, heads_ = 4;
    const auto attention = scaled_dot_product >> causal;
    std::vector<Operands<T>> operands;
    RowMatrix<double> product = RowMatrix<double>::Identity(n, n);
    for (Index layer = 0; layer < layers; ++layer) {
        operands.push_back(random_operands<T>(
            {.queries = n, .keys = n, .d_q = 8, .d_k = 8, .heads = heads_, .kv_heads = 2}, 10 + std::uint64_t(layer)));
        const RowMatrix<double> weights = forward(attention, operands.back()).weights.template cast<double>();
        RowMatrix<double> mean = RowMatrix<double>::Zero(n, n);
        for (Index head = 0; head < heads_; ++head) mean += weights.middleRows(head * n, n) / heads_;
        product = (0.5 * mean + 0.5 * RowMatrix<double>::Identity(n, n)) * product;
    }
    for (const Index token : {Index(0), Index(150), n - 1}) {
        auto r = rollout<T>(n, token);
        for (Index layer = layers - 1; layer >= 0; --layer) {
            const Operands<T>& x = operands[static_cast<std::size_t>(layer)];
            RowMatrix<T> out;
            attention(x.query_heads(), x.key_heads(), x.value_heads(), out, {.insight = r});
        }
        // Of numbers that sum to 1, which a layer adds n of.
        CHECK(distance(r.values().transpose(), product.row(token)) < 8 * layers * rounding_of<T>);
        CHECK(std::abs(static_cast<double>(r.values().sum()) - 1) < n * rounding_of<T>);
        CHECK((r.values().tail(n - 1 - token).array() == 0).all());
    }
}

TEST_CASE("of a ragged batch each sequence has a rollout of its own") {
    const Layout layout{.queries = 90,
                        .keys = 90,
                        .heads = 2,
                        .kv_heads = 2,
                        .sequences = {0, 30, 30, 90},
                        .key_sequences = {0, 30, 30, 90}};
    const KnownWeights<double, ScaledDotProductAttention> known(scaled_dot_product, layout);
    ColumnVector<double> start = ColumnVector<double>::Zero(90);
    start[3] = start[77] = 1;
    auto r = rollout<double>(start);
    known.show_to({r});
    for (Index j = 0; j < 90; ++j) {
        const Index token = j < 30 ? 3 : 77, key = j < 30 ? j : j - 30;
        const double mean = (known.weight(0, token, key) + known.weight(1, token, key)) / 2;
        CHECK(std::abs(r.values()[j] - 0.5 * (mean + (j == token ? 1 : 0))) < 1e-15);
    }
}

TEST_CASE("what is no self-attention is refused in words") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 5}, 1);
    RowMatrix<double> out;
    auto four = rollout<double>(4, 1), five = rollout<double>(5, 1);
    CHECK(refusal([&] { dot_product(x.q, x.k, x.v, out, {.insight = four}); }) ==
          "rollout: layers must be self-attention, but sequence 0 has 4 queries and 5 keys");
    CHECK(refusal([&] { dot_product(x.q, x.k, x.v, out, {.insight = five}); }) ==
          "rollout: it started with 5 tokens, but q has 4 rows");
    CHECK(refusal([] { rollout<double>(5, 5); }) == "rollout: there is no token 5 of 5");
}

}  // namespace test_rollout

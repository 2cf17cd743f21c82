// Multi-head latent attention (DeepSeek-AI 2024) is the attention of its absorbed form: one key/value head of latents,
// whose first features are the values, read by all query heads. Keys and values may be the same memory.

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_latent_attention {
namespace {

constexpr Index n = 90, n_heads = 20, d = 12, rank = 30, d_rope = 5, width = rank + d_rope;
const double scale = 1 / std::sqrt(static_cast<double>(d + d_rope));

/// Queries of `queries` tokens, a latent and a rotated key for each of n, and the maps of each head.
struct Model {
    RowMatrix<double> q, q_rope, latents, key_maps, value_maps;

    explicit Model(Index queries) {
        Random random(1);
        q = random_matrix<double>(random, queries, n_heads * d);
        q_rope = random_matrix<double>(random, queries, n_heads * d_rope);
        latents = random_matrix<double>(random, n, width);  // of each token rank features, then the rotated ones
        key_maps = random_matrix<double>(random, rank, n_heads * d, 0.3);
        value_maps = random_matrix<double>(random, rank, n_heads * d, 0.3);
    }
    auto of(const RowMatrix<double>& maps, Index h) const { return maps.middleCols(h * d, d); }

    /// Keys and values of each head made of the latents.
    RowMatrix<double> unabsorbed(Index offset) const {
        RowMatrix<double> queries(q.rows(), n_heads * (d + d_rope)), keys(n, n_heads * (d + d_rope)), out;
        for (Index h = 0; h < n_heads; ++h) {
            queries.middleCols(h * (d + d_rope), d) = q.middleCols(h * d, d);
            queries.middleCols(h * (d + d_rope) + d, d_rope) = q_rope.middleCols(h * d_rope, d_rope);
            keys.middleCols(h * (d + d_rope), d) = latents.leftCols(rank) * of(key_maps, h);
            keys.middleCols(h * (d + d_rope) + d, d_rope) = latents.rightCols(d_rope);
        }
        const RowMatrix<double> values = latents.leftCols(rank) * value_maps;
        (ScaledDotProductAttention(scale) >> causal)(heads(queries, n_heads), heads(keys, n_heads),
                                                     heads(values, n_heads), out, {.query_offset = offset});
        return out;
    }
    /// Queries that have taken in the maps of the keys.
    RowMatrix<double> absorbed_queries() const {
        RowMatrix<double> queries(q.rows(), n_heads * width);
        for (Index h = 0; h < n_heads; ++h) {
            queries.middleCols(h * width, rank) = q.middleCols(h * d, d) * of(key_maps, h).transpose();
            queries.middleCols(h * width + rank, d_rope) = q_rope.middleCols(h * d_rope, d_rope);
        }
        return queries;
    }
    /// What the output makes of weighted latents.
    RowMatrix<double> values_of(const RowMatrix<double>& weighted) const {
        RowMatrix<double> out(weighted.rows(), n_heads * d);
        for (Index h = 0; h < n_heads; ++h)
            out.middleCols(h * d, d) = weighted.middleCols(h * rank, rank) * of(value_maps, h);
        return out;
    }
};

}  // namespace

TEST_CASE(
    "absorbed latent attention is the unabsorbed, over operands that share their memory and over a latent cache") {
    for (const Index queries : {1, 2, 5, 17, 90}) {
        CAPTURE(queries);
        const Model model(queries);
        const Index offset = n - queries;
        const auto attention = ScaledDotProductAttention(scale) >> causal;
        const RowMatrix<double> q = model.absorbed_queries(), expected = model.unabsorbed(offset);
        RowMatrix<double> weighted;
        attention(heads(q, n_heads), model.latents, model.latents.leftCols(rank), weighted, {.query_offset = offset});
        CHECK(distance(model.values_of(weighted), expected) < 1e-13);

        KvCache<double> cache({.d_k = width, .d_v = rank, .capacity = n, .latent = true});
        cache.append(model.latents);
        RowMatrix<double> of_cache;
        attention(heads(q, n_heads), cache, of_cache);
        CHECK(same_bits(of_cache, weighted));
    }
}

TEST_CASE("the gradients of latents read as keys and as values add up to those of two matrices") {
    const Model model(7);
    const RowMatrix<double> q = model.absorbed_queries(), values = model.latents.leftCols(rank);
    Random random(2);
    const auto dout = random_matrix<double>(random, 7, n_heads * rank);
    const auto attention = ScaledDotProductAttention(scale);
    const auto run = [&](const auto& v, RowMatrix<double>& dq, auto& dk, auto& dv) {
        RowMatrix<double> out, lse;
        attention(heads(q, n_heads), model.latents, v, out, {.lse = lse});
        attention.backward(heads(q, n_heads), model.latents, v, heads(out, n_heads), lse, heads(dout, n_heads), dq, dk,
                           dv, {});
    };
    RowMatrix<double> dq, dk, dv, dq_apart, dk_apart, dv_apart;
    run(model.latents.leftCols(rank), dq, dk, dv);
    run(values, dq_apart, dk_apart, dv_apart);
    CHECK(same_bits(dq, dq_apart));
    CHECK(same_bits(dk, dk_apart));
    CHECK(same_bits(dv, dv_apart));
}

TEMPLATE_TEST_CASE("many heads over one head of keys are what each is alone", "", float, Eigen::half, Eigen::bfloat16) {
    using T = TestType;
    for (const Index queries : {1, 3, 20}) {
        const auto x = random_operands<T>(
            {.queries = queries, .keys = 1100, .d_q = 20, .d_k = 20, .d_v = 18, .heads = 130, .kv_heads = 1}, 3);
        const auto y = forward(scaled_dot_product, x);
        const auto d = backward(scaled_dot_product, x);
        for (const Index h : {0, 31, 64, 129}) {
            CAPTURE(queries, h);
            RowMatrix<T> out;
            const RowMatrix<T> q = x.q.middleCols(20 * h, 20);
            scaled_dot_product(q, x.k, x.v, out, {});
            CHECK(same_bits(out, y.out.middleCols(18 * h, 18)));
            RowMatrix<T> dq;
            RowMatrix<T> dk, dv;
            const RowMatrix<Compute<T>> lse = y.lse.col(h);
            const RowMatrix<T> dout = x.dout.middleCols(18 * h, 18);
            scaled_dot_product.backward(q, x.k, x.v, out, lse, dout, dq, dk, dv, {});
            CHECK(same_bits(dq, d.dq.middleCols(20 * h, 20)));
        }
    }
}

}  // namespace test_latent_attention

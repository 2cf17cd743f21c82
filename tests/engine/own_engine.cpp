// needs: threads
//
// An engine of a user's own makes all products of attentions and of blocks, forward and backward.

#include <attend/attend.hpp>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <support/block_gradients.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/plain.hpp>

#include "engines.hpp"

using namespace attend;
using namespace attend::test;

namespace test_own_engine {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("an engine of one's own gives the attention that its parts say, and its gradients") {
    std::atomic<Index> products = 0;
    for (const Index queries : {1, 2, 7, 70}) {
        const Index keys = 70, d = 4;
        const Layout layout{
            .queries = queries, .keys = keys, .d_q = d, .d_k = d, .d_v = 3, .query_offset = 70 - queries};
        const Operands<double> x = random_operands(layout, 1);
        const auto attention = scaled_dot_product >> soft_cap(1.5) >> causal >> CountingLoops{&products};
        const auto plain = plain_attention(queries, x.v, [&](Index i, Index j) {
            const double score = 1.5 * std::tanh(x.q.row(i).dot(x.k.row(j)) / 2.0 / 1.5);
            return j > layout.query_offset + i ? -infinity : score;
        });
        RowMatrix<double> out;
        products = 0;
        attention(x.q, x.k, x.v, out, {.query_offset = layout.query_offset});
        CHECK(distance(out, plain.out) < 1e-14);
        const Index visible = queries * keys - queries * (queries - 1) / 2;
        CHECK(products >= visible * (d + 3));

        const auto y = forward(attention, x);
        Gradients<double, std::remove_const_t<decltype(attention)>> gradients{.parameters = zero_gradient(attention)};
        products = 0;
        add_gradients(attention, x, y, gradients);
        CHECK(products >= visible * (3 * d + 2 * 3));
        if (queries < 70) check_gradients(attention, x);
    }
}

TEST_CASE("it serves every kind of score and normalizer, threads, and 16-bit operands") {
    std::atomic<Index> products = 0;
    const CountingLoops loops{&products};
    const Operands<double> x = random_operands({.queries = 5, .keys = 9, .heads = 4, .kv_heads = 2}, 2);
    check_gradients(dot_product >> sparsemax >> loops, x);
    check_gradients(dot_product >> sigmoid(-1.0) >> loops, x);
    check_gradients(AdditiveAttention<double>(3, 3, 4, 1) >> softmax_with_sink(0.3) >> loops, x);
    check_gradients(score([](auto q, auto k) { return -(q - k) * (q - k); }) >> loops, x);

    const auto many = random_operands<float>({.queries = 200, .keys = 150, .d_q = 24, .d_k = 24, .d_v = 20}, 3);
    Eigen::ThreadPool pool(3);
    const auto threads = thread_pool(pool);
    CHECK(first_difference(forward(scaled_dot_product >> loops, many),
                           forward(scaled_dot_product >> loops, many, threads)) == "");
    CHECK(distance(forward(scaled_dot_product >> loops, many).out, forward(scaled_dot_product, many).out) < 1e-6);
    const auto half = many.cast<Eigen::bfloat16>();
    CHECK(distance(forward(scaled_dot_product >> loops, half).out.cast<float>(),
                   forward(scaled_dot_product, half).out.cast<float>()) < 1e-2);
}

#if !defined(__clang__)  // 14 takes the score's default constructor for an inherited one
TEST_CASE("without a default engine there is no default attention") {
    struct Counting : CountingLoops {
        explicit Counting(std::atomic<Index>* to) : CountingLoops{to} {}
    };
    using A = decltype(scaled_dot_product >> Counting(nullptr));
    static_assert(!std::is_default_constructible_v<A>);
    static_assert(std::is_default_constructible_v<ScaledDotProductAttention>);
}
#endif

TEST_CASE("a block has its products made by it, and its gradients are right") {
    std::atomic<Index> products = 0;
    const MultiHeadShape shape{.d_model = 6, .heads = 3, .kv_heads = 1};
    const auto attention = scaled_dot_product >> causal >> CountingLoops{&products};
    check_block(MultiHeadAttention<double, std::remove_const_t<decltype(attention)>>(shape, attention, 1),
                BlockInputs(shape, 5, 0));
    CHECK(products > 0);
    const RowMatrix<double> k = RowMatrix<double>::Random(4, 2);
    const auto memory = attention.prepare(k, k);
    products = 0;
    memory(k);
    CHECK(products > 0);
}

}  // namespace test_own_engine

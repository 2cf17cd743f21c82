// needs: threads
//
// The law of a key source: whatever it keeps its rows in, a call on it gives what the same keys and values give as
// operands, to the bit: output, LSE, weights and all gradients.

#include <attend/attend.hpp>

#include <mutex>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

#include "sources.hpp"

using namespace attend;
using namespace attend::test;

namespace test_source_laws {
namespace {

/// By one thread at a time: different tiles may come at once.
template <class T>
struct Locked {
    GatheredRows<T> rows;
    std::mutex mutex;

    explicit Locked(const Pages<T>& source) : rows(source) {}
    void add(Index sequence, Index head, Index begin, const RowBlock<T>& dk, const RowBlock<T>& dv) {
        const std::lock_guard lock(mutex);
        rows.add(sequence, head, begin, dk, dv);
    }
};

template <class T, class A>
void check_bits(const A& attention, const Layout& layout) {
    CAPTURE(layout.queries, layout.keys, layout.d_k);
    const Operands<T> x = random_operands<T>(layout, 1);
    Pages<T> source(layout.kv_heads, layout.d_k, layout.d_v);
    source.add(x.k, x.v);
    Eigen::ThreadPool pool(2);
    const auto threads = thread_pool(pool);
    const Outputs<T> y = forward(attention, x);
    const auto d = backward(attention, x);
    for (const attend::detail::ExecutorRef& executor :
         {attend::detail::ExecutorRef(serial), attend::detail::ExecutorRef(threads)}) {
        Outputs<T> of_source;
        attention(x.query_heads(), source, of_source.out,
                  {.executor = executor,
                   .lse = of_source.lse,
                   .weights = of_source.weights,
                   .query_offset = layout.query_offset,
                   .dropout = layout.dropout});
        CHECK(first_difference(y, of_source) == "");
        Locked<T> rows(source);
        Gradients<T, A> g{.parameters = zero_gradient(attention)};
        attention.backward(x.query_heads(), source, heads(y.out, layout.heads), y.lse, heads(x.dout, layout.heads),
                           g.dq, rows,
                           {.executor = executor,
                            .gradient = &g.parameters,
                            .query_offset = layout.query_offset,
                            .dropout = layout.dropout});
        g.dk = rows.rows.dk[0], g.dv = rows.rows.dv[0];
        CHECK(first_difference(d, g) == "");
    }
}

}  // namespace

TEMPLATE_TEST_CASE("a source gives the bits of operands", "", float, double) {
    for (const Index queries : {1, 3, 70}) {
        for (const Index keys : {1, 64, 150}) {
            const Layout layout{.queries = queries,
                                .keys = keys,
                                .d_q = 9,
                                .d_k = 9,
                                .d_v = 6,
                                .heads = 4,
                                .kv_heads = 2,
                                .query_offset = keys - 1};
            check_bits<TestType>(scaled_dot_product >> causal, layout);
            check_bits<TestType>(dot_product >> soft_cap(2.0) >> sparsemax, layout);
        }
    }
    check_bits<TestType>(score([](auto q, auto k) { return -(q - k) * (q - k); }) >> softmax_with_sink(0.5),
                         {.queries = 9, .keys = 70, .dropout = {0.25, 3}});
    check_bits<TestType>(scaled_dot_product, {.queries = 2, .keys = 3000});
}

TEST_CASE("values that are not finite reach from a source whom they would reach from an operand") {
    Operands<double> x = random_operands({.queries = 70, .keys = 70}, 2);
    x.v(50, 1) = std::numeric_limits<double>::infinity(), x.k(60, 0) = std::numeric_limits<double>::quiet_NaN();
    Pages<double> source(1, 3, 2);
    source.add(x.k, x.v);
    for (const Index rows : {1, 70}) {
        const RowMatrix<double> q = x.q.topRows(rows), out = (scaled_dot_product >> causal)(q, source);
        CHECK(same_bits(out, (scaled_dot_product >> causal)(q, x.k, x.v)));
    }
}

TEST_CASE("sequences of a source have lengths of their own") {
    Random random(5);
    Pages<float> source(2, 3, 4);
    std::vector<RowMatrix<float>> k, v;
    for (const Index keys : {7, 0, 1, 130}) {
        k.push_back(random_matrix<float>(random, keys, 6)), v.push_back(random_matrix<float>(random, keys, 8));
        source.add(k.back(), v.back());
    }
    const RowMatrix<float> q = random_matrix<float>(random, 8, 12);
    const auto attention = scaled_dot_product >> alibi(0.25);
    RowMatrix<float> out(8, 16), ragged(8, 16), alone;
    // As a batch of two queries each, and as a stack of rows.
    attention(strided(q.data(), {4, 4, 2, 3}, {24, 3, 12, 1}), source,
              strided(out.data(), {4, 4, 2, 4}, {32, 4, 16, 1}), {.query_offset = 5});
    attention(heads(q, 4), source, ragged, {.query_offset = 5, .sequences = sequences({0, 2, 4, 6, 8})});
    CHECK(same_bits(out, ragged));
    for (Index s = 0; s < 4; ++s) {
        const auto at = static_cast<std::size_t>(s);
        const RowMatrix<float> rows = q.middleRows(2 * s, 2);
        attention(heads(rows, 4), heads(k[at], 2), heads(v[at], 2), alone, {.query_offset = 5});
        CHECK(same_bits(alone, RowMatrix<float>(out.middleRows(2 * s, 2))));
    }
}

TEST_CASE("what does not fit a source is refused in words, before anything is written") {
    const RowMatrix<double> rows = RowMatrix<double>::Ones(4, 6), narrow = RowMatrix<double>::Ones(4, 5);
    Pages<double> source(2, 3, 2);
    source.add(rows, RowMatrix<double>::Ones(4, 4));
    RowMatrix<double> out = RowMatrix<double>::Constant(4, 8, 7.0);
    CHECK(refusal([&] { dot_product(heads(rows, 3), source, out); }) ==
          "the 2 key/value heads of k (2 heads x 4x3) must divide the 3 query heads of q (3 heads x 4x2)");
    CHECK(refusal([&] { dot_product(narrow, source, out); }).find("must divide") != std::string::npos);
    const RowMatrix<double> wide = RowMatrix<double>::Ones(4, 20);
    CHECK(refusal([&] { dot_product(heads(wide, 4), source, out); }).find("must have the same width") !=
          std::string::npos);
    CHECK(refusal([&] {
              dot_product(heads(rows, 2), source, out, {.sequences = sequences({0, 1, 4})});
          }).find("has 2 sequences, but the source 1") != std::string::npos);
    CHECK(refusal([&] {
              dot_product(heads(rows, 2), source, out, {.key_sequences = sequences({0, 4})});
          }).find("key_sequences: a source says itself") != std::string::npos);
    CHECK(refusal([&] { dot_product(heads(rows, 2), source, out); }).find("out (4x8) must be 4x4") !=
          std::string::npos);
    CHECK(refusal([&] {
              AdditiveAttention<double>(3, 3, 4, 1)(heads(rows, 2), source, out);
          }).find("must be features of the score, which makes 4") != std::string::npos);
    CHECK((out.array() == 7).all());
}

}  // namespace test_source_laws

// needs: threads
//
// Token by token over a cache, a block gives what it gives of all tokens at once; whatever stands beside a sequence.

#include <attend/attend.hpp>

#include <vector>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_steps {
namespace {

constexpr Index d = 24, tokens = 40;

template <class T>
RowMatrix<T> tokens_of(std::uint64_t seed, Index rows = tokens) {
    Random random(seed);
    return random_matrix<T>(random, rows, d);
}

/// The prompt at once, then a token at a time, then three.
template <class T, class Block, class Cache>
RowMatrix<T> generate(const Block& block, Cache& cache, const RowMatrix<T>& x, bool packed) {
    typename Block::Tape tape;
    Workspace workspace;
    RowMatrix<T> y(x.rows(), d);
    std::vector<Index> cuts{0, 17};
    while (cuts.back() < 34) cuts.push_back(cuts.back() + 1);
    while (cuts.back() < x.rows()) cuts.push_back(std::min(cuts.back() + 3, x.rows()));
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        const Index begin = cuts[i], rows = cuts[i + 1] - begin;
        if constexpr (std::is_same_v<T, Compute<T>>) {
            if (packed) {
                const auto weights = block.pack();
                block.step(x.middleRows(begin, rows), cache, y.middleRows(begin, rows),
                           {.workspace = &workspace, .tape = &tape, .packed = &weights});
                continue;
            }
        }
        block.step(x.middleRows(begin, rows), cache, y.middleRows(begin, rows),
                   {.workspace = &workspace, .tape = &tape});
    }
    return y;
}

template <class T, class A>
void check_whole(const A& attention, const MultiHeadShape& shape, Index key_width, double tolerance) {
    CAPTURE(shape.kv_heads, static_cast<bool>(shape.rope));
    const MultiHeadAttention<T, A> block(shape, attention, 1);
    const RowMatrix<T> x = tokens_of<T>(1);
    const RowMatrix<T> whole = block(x);
    for (const bool packed : {false, true}) {
        KvCache<Compute<T>, T> cache(
            {.heads = block.shape().kv_heads, .d_k = key_width, .d_v = block.shape().d_head, .capacity = tokens});
        CHECK(distance(generate(block, cache, x, packed), whole) <= tolerance * magnitude(whole));
        CHECK(cache.keys() == tokens);
    }
}

}  // namespace

TEST_CASE("steps give what all tokens at once give") {
    const auto attention = scaled_dot_product >> alibi(0.1) >> causal;
    for (const Index kv_heads : {1, 2, 4}) {
        check_whole<float>(attention, {.d_model = d, .heads = 4, .kv_heads = kv_heads}, 6, 2e-6);
        check_whole<double>(attention, {.d_model = d, .heads = 4, .kv_heads = kv_heads, .rope = Rope{}}, 6, 2e-15);
    }
    check_whole<float>(dot_product >> causal >> softmax_with_sink(0.5), {.d_model = d, .heads = 3, .bias = false}, 8,
                       2e-6);
    check_whole<double>(scaled_dot_product >> (causal & sliding_window(9)) >> sigmoid(-2.0), {.d_model = d, .heads = 2},
                        12, 2e-15);
    check_whole<float>(AdditiveAttention<float>(12, 12, 5, 1) >> causal, {.d_model = d, .heads = 2}, 5, 4e-6);
    check_whole<Eigen::half>(scaled_dot_product >> causal, {.d_model = d, .heads = 2}, 12, 4e-3);
    MultiHeadShape all{.d_model = d, .heads = 4, .kv_heads = 2, .rope = Rope{}, .qk_norm = RmsNorm{}};
    all.gate = OutputGate::elementwise;
    check_whole<double>(attention, all, 6, 4e-15);
    all.gate = OutputGate::headwise;
    check_whole<float>(attention, all, 6, 2e-6);
    check_whole<Eigen::half>(scaled_dot_product >> causal, all, 6, 4e-3);
}

TEST_CASE("steps over a ring give what a sliding window over all tokens gives") {
    const auto check = [](const auto& attention, Index keys, Index sinks, Index at_once) {
        using A = std::remove_cvref_t<decltype(attention)>;
        CAPTURE(keys, sinks, at_once);
        const MultiHeadAttention<double, A> block({.d_model = d, .heads = 4, .kv_heads = 2, .rope = Rope{}}, attention,
                                                  1);
        RingCache<double> cache({.heads = 2, .d_k = 6, .keys = keys, .sinks = sinks});
        const RowMatrix<double> x = tokens_of<double>(5, 300), whole = block(x);
        for (Index i = 0; i < x.rows(); i += at_once) {
            const Index rows = std::min(at_once, x.rows() - i);
            RowMatrix<double> y;
            block.step(x.middleRows(i, rows), cache, y);
            REQUIRE(distance(y, whole.middleRows(i, rows)) <= 4e-15 * magnitude(whole));
        }
        CHECK(cache.tokens() == x.rows());
        CHECK(cache.keys() == keys + sinks);
    };
    for (const Index at_once : {1, 2, 5, 20}) {
        check(scaled_dot_product >> alibi(0.1) >> (causal & sliding_window(30)), 29 + at_once, 0, at_once);
        check(scaled_dot_product >> (causal & (sliding_window(90) | prefix(7))) >> softmax_with_sink(0.3), 95 + at_once,
              7, at_once);
        check(scaled_dot_product >> (causal & (sliding_window(90) | prefix(70))) >> sparsemax, 89 + at_once, 70,
              at_once);
        check(scaled_dot_product >> (causal & (sliding_window(17) | prefix(2))) >> sigmoid(-1.0), 16 + at_once, 2,
              at_once);
    }
}

TEST_CASE("a sequence's bits do not depend on those beside it, nor on threads") {
    const auto attention = scaled_dot_product >> causal;
    using Block = MultiHeadAttention<float, std::remove_const_t<decltype(attention)>>;
    const Block block({.d_model = d, .heads = 4, .kv_heads = 2, .rope = Rope{}}, attention, 1);
    const auto packed = block.pack();
    Eigen::ThreadPool pool(2);
    const auto threads = thread_pool(pool);
    constexpr Index count = 13;
    const KvCacheShape one{.heads = 2, .d_k = 6, .capacity = 30};
    KvCacheShape all = one;
    all.sequences = count;
    for (const PackedProjections<float>* weights : {static_cast<const PackedProjections<float>*>(nullptr), &packed}) {
        KvCache<float> together(all);
        std::vector<KvCache<float>> alone(count, KvCache<float>(one));
        // Sequences of many rows, of one and of none in one call; then a token of each.
        for (Index round = 0; round < 3; ++round) {
            std::vector<Index> offsets{0};
            for (Index s = 0; s < count; ++s) offsets.push_back(offsets.back() + (round > 0 ? 1 : s % 5 * 3));
            const RowMatrix<float> x = tokens_of<float>(static_cast<std::uint64_t>(round), offsets.back());
            RowMatrix<float> y;
            if (round == 0)
                block.step(x, together, y, {.executor = threads, .sequences = sequences(offsets), .packed = weights});
            else
                block.step(x, together, y, {.executor = threads, .packed = weights});
            for (Index s = 0; s < count; ++s) {
                CAPTURE(round, s);
                const Index begin = offsets[static_cast<std::size_t>(s)],
                            rows = offsets[static_cast<std::size_t>(s) + 1] - begin;
                RowMatrix<float> y_alone;
                block.step(x.middleRows(begin, rows), alone[static_cast<std::size_t>(s)], y_alone, {.packed = weights});
                CHECK(same_bits(y.middleRows(begin, rows), y_alone));
            }
        }
    }
}

TEST_CASE("a step gives the weights of the keys that are held then") {
    const auto attention = scaled_dot_product >> (causal & (sliding_window(6) | prefix(2)));
    using A = std::remove_const_t<decltype(attention)>;
    const MultiHeadAttention<double, A> block({.d_model = d, .heads = 2}, attention, 1);
    const RowMatrix<double> x = tokens_of<double>(6);
    RowMatrix<double> y, weights, whole;
    block.forward(x, y, {.weights = whole});
    y.resize(0, 0);
    KvCache<double> cache({.heads = 2, .d_k = 12, .capacity = tokens});
    RingCache<double> ring({.heads = 2, .d_k = 12, .keys = 6, .sinks = 2});
    for (Index i = 0; i < tokens; ++i) {
        weights.resize(0, 0);
        block.step(x.row(i), cache, y, {.weights = weights});
        REQUIRE(weights.cols() == i + 1);
        CHECK(distance(weights.row(1), whole.row(tokens + i).head(i + 1)) < 1e-14);
        weights.resize(0, 0);
        block.step(x.row(i), ring, y, {.weights = weights});
        REQUIRE(weights.cols() == std::min<Index>(i + 1, 8));
        CHECK(distance(weights.row(1).tail(1), whole.row(tokens + i).segment(i, 1)) < 1e-14);
        CHECK(distance(weights.row(1).head(1), whole.row(tokens + i).head(1)) < 1e-14);
    }
    RowMatrix<double> wrong(2, 41);
    CHECK(refusal([&] { block.step(x.row(0), ring, y, {.weights = wrong}); }) ==
          "weights (2x41) must be 2x8, or empty "
          "to be resized");
    CHECK(ring.tokens() == tokens);
}

TEST_CASE("a step that does not fit is refused, and the cache stays as it was") {
    const MultiHeadAttention<double> block({.d_model = d, .heads = 4}, {}, 1);
    KvCache<double> cache({.heads = 4, .d_k = 6, .capacity = 5}),
        two({.heads = 4, .d_k = 6, .capacity = 5, .sequences = 2}), other({.heads = 2, .d_k = 6, .capacity = 5});
    RowMatrix<double> y;
    block.step(tokens_of<double>(1, 3), cache, y);
    const RowMatrix<double> before = RowMatrix<double>::Constant(3, d, 7.0);
    const auto refused = [&](auto& into, Index rows, MultiHeadOptions<double> options = {}) {
        y = before;
        const Index keys = into.keys();
        const std::string text = refusal([&] { block.step(tokens_of<double>(2, rows), into, y, options); });
        CHECK(into.keys() == keys);
        CHECK(same_bits(y, before));
        return text;
    };
    CHECK(refused(cache, 3) == "kv_cache: sequence 0 holds 3 of 5 keys, 3 more do not fit");
    CHECK(refused(two, 3) == "step: x has 3 rows for the cache's 2 sequences: one each, or give sequences");
    CHECK(refused(two, 3, {.sequences = sequences({0, 1, 2, 3})}) ==
          "step: sequences holds 3 sequences, but the cache 2");
    CHECK(refused(cache, 1, {.query_offset = 3}) ==
          "step: the cache says where queries stand and how many keys a sequence has: leave query_offset and "
          "key_sequences out");
    CHECK(refused(other, 3) != "");
    CHECK(refused(cache, 1, {.dropout = {.rate = 1.0}}) == "dropout: the rate must be at least 0 and below 1, got 1");
    CHECK(refused(cache, 2) == "y (3x24) must be 2x24, or empty to be resized");
    MultiHeadTape<double> tape;
    RowMatrix<double> dx;
    y.resize(0, 0);
    block.step(tokens_of<double>(1, 1), cache, y, {.tape = &tape});
    CHECK(refusal([&] { block.backward(tape, y, dx); }) == "backward: the tape was a step's, which records nothing");
}

}  // namespace test_multi_head_steps

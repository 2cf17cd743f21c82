// A cache of sequences that begin alike is a cache of all their keys: for calls, for blocks that generate, and tile by
// tile.

#include <attend/prefixed_cache.hpp>

#include <vector>

#include <attend/attend.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_prefixed_cache {
namespace {

constexpr Index sequences_ = 5, prompt = 70, d = 24;

/// The same prompt, then answers of lengths of their own, by blocks over whole caches and over one that shares.
template <class T, class A, class Stored = T>
void check_steps(const A& attention, const MultiHeadShape& shape, double tolerance) {
    const MultiHeadAttention<T, A> block(shape, attention, 1);
    const Index kv_heads = block.shape().kv_heads, width = block.shape().d_head;
    using Cache = KvCache<T, Stored>;
    Cache prefix({.heads = kv_heads, .d_k = width, .capacity = prompt}),
        suffixes({.heads = kv_heads, .d_k = width, .capacity = 20, .sequences = sequences_}),
        whole({.heads = kv_heads, .d_k = width, .capacity = prompt + 20, .sequences = sequences_});
    PrefixedCache<T, Cache, Cache> both(prefix, suffixes);
    Random random(2);
    const RowMatrix<T> x = random_matrix<T>(random, prompt, d);
    RowMatrix<T> prompts(sequences_ * prompt, d), ignored, ignored_too;
    for (Index s = 0; s < sequences_; ++s) prompts.middleRows(s * prompt, prompt) = x;
    block.step(x, prefix, ignored);
    std::vector<Index> cuts;
    for (Index s = 0; s <= sequences_; ++s) cuts.push_back(s * prompt);
    block.step(prompts, whole, ignored_too, {.sequences = sequences(cuts)});

    typename MultiHeadAttention<T, A>::Tape tape;
    for (int round = 0; round < 6; ++round) {
        std::vector<Index> begins{0};
        for (Index s = 0; s < sequences_; ++s)
            begins.push_back(begins.back() + (round == 5 ? 1 : random_index(random, 0, 3)));
        const RowMatrix<T> tokens = random_matrix<T>(random, begins.back(), d);
        RowMatrix<T> y, z;
        if (round == 5) {
            block.step(tokens, both, y, {.tape = &tape});
        } else {
            block.step(tokens, both, y, {.tape = &tape, .sequences = sequences(begins)});
        }
        block.step(tokens, whole, z, {.sequences = sequences(begins)});
        CAPTURE(round);
        CHECK(distance(y, z) <= tolerance * magnitude(z));
        for (Index s = 0; s < sequences_; ++s) CHECK(both.keys(s) == whole.keys(s));
    }
}

/// A cache that counts how often it is read.
struct Counted {
    static constexpr Kind kind = Kind::source;

    KvCache<float> cache;
    mutable int reads = 0;

    Index sequences() const { return cache.sequences(); }
    Index heads() const { return cache.heads(); }
    Index keys(Index sequence) const { return cache.keys(sequence); }
    Index key_width() const { return cache.key_width(); }
    Index value_width() const { return cache.value_width(); }
    RowBlock<float> key_rows(Index sequence, Index head, Index begin, Index count, float* room) const {
        ++reads;
        return cache.key_rows(sequence, head, begin, count, room);
    }
    RowBlock<float> value_rows(Index sequence, Index head, Index begin, Index count, float* room) const {
        return cache.value_rows(sequence, head, begin, count, room);
    }
};

}  // namespace

TEST_CASE("the prefix is read once for all sequences, whatever their number") {
    Counted prefix{KvCache<float>({.heads = 2, .d_k = 3, .capacity = 256})};
    Random random(4);
    prefix.cache.append(random_matrix<float>(random, 256, 6), random_matrix<float>(random, 256, 6));
    const auto reads = [&](Index n) {
        KvCache<float> suffixes({.heads = 2, .d_k = 3, .capacity = 4, .sequences = n});
        PrefixedCache<float, Counted> both(prefix, suffixes);
        const RowMatrix<float> q = random_matrix<float>(random, n, 6);
        std::vector<Index> begins;
        for (Index s = 0; s <= n; ++s) begins.push_back(s);
        for (Index s = 0; s < n; ++s) both.append(q.row(s), q.row(s), s);
        RowMatrix<float> out;
        prefix.reads = 0;
        (dot_product >> causal)(heads(q, 2), both, out, {.sequences = sequences(begins)});
        return prefix.reads;
    };
    CHECK(reads(2) > 0);
    CHECK(reads(12) == reads(2));
}

TEST_CASE("a block generates over a prefix that sequences share as over caches of all their keys") {
    check_steps<double>(scaled_dot_product >> alibi(0.1) >> (causal & sliding_window(60)),
                        {.d_model = d, .heads = 4, .kv_heads = 2}, 1e-14);
    check_steps<float>(scaled_dot_product >> causal, {.d_model = d, .heads = 4, .rope = Rope{}}, 4e-6);
    const auto plain = scaled_dot_product >> causal;
    check_steps<float, std::remove_const_t<decltype(plain)>, Eigen::bfloat16>(
        plain, {.d_model = d, .heads = 4, .kv_heads = 2}, 4e-6);
}
TEST_CASE("attentions whose parts do not merge read the prefix tile by tile") {
    check_steps<double>(scaled_dot_product >> causal >> softmax_with_sink(0.4), {.d_model = d, .heads = 2}, 1e-14);
    check_steps<double>(dot_product >> causal >> sparsemax, {.d_model = d, .heads = 2}, 1e-14);
}

TEST_CASE("calls are those on all keys, with and without what goes tile by tile") {
    KvCache<double> prefix({.heads = 2, .d_k = 3, .d_v = 4, .capacity = 100}),
        suffixes({.heads = 2, .d_k = 3, .d_v = 4, .capacity = 30, .sequences = 2}),
        whole({.heads = 2, .d_k = 3, .d_v = 4, .capacity = 130, .sequences = 2});
    Random random(3);
    const RowMatrix<double> k = random_matrix<double>(random, 100, 6), v = random_matrix<double>(random, 100, 8);
    prefix.append(k, v);
    PrefixedCache<double> both(prefix, suffixes);
    for (Index s = 0; s < 2; ++s) {
        whole.append(k, v, s);
        whole.append(k.topRows(20 + s), v.topRows(20 + s), s);
        both.append(k.topRows(20 + s), v.topRows(20 + s), s);
    }
    const RowMatrix<double> q = random_matrix<double>(random, 9, 12);
    const auto cuts = sequences({0, 4, 9});
    const auto attention = scaled_dot_product >> alibi(0.1) >> causal;
    RowMatrix<double> out, lse, weights, right, right_lse, right_weights;
    attention(heads(q, 4), whole, right, {.lse = right_lse, .weights = right_weights, .sequences = cuts});
    attention(heads(q, 4), both, out, {.lse = lse, .sequences = cuts});
    CHECK(distance(out, right) <= 1e-14);
    CHECK(distance(lse, right_lse) <= 1e-14 * magnitude(right_lse));
    attention(heads(q, 4), both, out, {.weights = weights, .sequences = cuts});
    CHECK(same_bits(out, right));
    CHECK(same_bits(weights, right_weights));
}

TEST_CASE("caches that do not go together are refused in words") {
    KvCache<float> one({.heads = 2, .d_k = 3, .capacity = 4}),
        two({.heads = 2, .d_k = 3, .capacity = 1, .sequences = 2}), other({.heads = 1, .d_k = 3, .capacity = 4});
    CHECK(refusal([&] { PrefixedCache<float>(two, one); }) == "prefix: must be one sequence, and there are 2");
    CHECK(refusal([&] { PrefixedCache<float>(one, other); }) ==
          "prefix (2 heads, keys of 3, values of 3) and suffixes (1, 3, 3) must be alike");
    PrefixedCache<float> both(one, two);
    const RowMatrix<float> rows = RowMatrix<float>::Zero(2, 6);
    CHECK(refusal<std::invalid_argument>([&] { both.append(rows, rows, 1); }) ==
          "kv_cache: sequence 1 holds 0 of 1 keys, 2 more do not fit");
}

TEST_CASE("a step whose parts do not go with a shared prefix is refused before anything is appended") {
    const auto attention = scaled_dot_product >> (causal & lengths({7, 7}));
    const auto block = multi_head<float>({.d_model = 16, .heads = 2}, attention, 1);
    KvCache<float> prefix({.heads = 2, .d_k = 8, .capacity = 20}),
        suffixes({.heads = 2, .d_k = 8, .capacity = 20, .sequences = 2});
    prefix.append(RowMatrix<float>::Ones(4, 16), RowMatrix<float>::Ones(4, 16));
    PrefixedCache<float> both(prefix, suffixes);
    const RowMatrix<float> x = RowMatrix<float>::Ones(6, 16);
    RowMatrix<float> y, weights;
    CHECK(refusal([&] { block.step(x, both, y, {.sequences = sequences({0, 3, 6})}); }) != "");
    CHECK(suffixes.keys(0) == 0);
    block.step(x, both, y, {.weights = weights, .sequences = sequences({0, 3, 6})});  // tile by tile
    CHECK(suffixes.keys(0) == 3);
}

}  // namespace test_prefixed_cache

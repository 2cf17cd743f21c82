// A memory projected once into a cache gives what the memory itself gives, to every block and call that reads it.

#include <attend/attend.hpp>

#include <vector>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_cache {
namespace {

template <class T>
RowMatrix<T> rows_of(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<T>(random, rows, columns);
}

/// Of a memory for each of three sequences, at once and in two pieces.
template <class T, class A>
void check(const A& attention, const MultiHeadShape& given, Index key_width) {
    const auto block = multi_head<T>(given, attention, 1);
    const MultiHeadShape& shape = block.shape();
    CAPTURE(sizeof(T), shape.heads, shape.kv_heads);
    const Sequences cut = sequences({0, 12, 31, 43}), queries = sequences({0, 3, 4, 9});
    const RowMatrix<T> memory = rows_of<T>(43, shape.d_memory, 2), x = rows_of<T>(9, shape.d_model, 3);
    const KvCacheShape of_cache{
        .heads = shape.kv_heads, .d_k = key_width, .d_v = shape.d_head, .capacity = 40, .sequences = 3};
    KvCache<Compute<T>, Compute<T>> cache(of_cache), pieces(of_cache);
    block.remember(memory, cache, {.sequences = cut});
    RowMatrix<T> first(30, memory.cols()), second(13, memory.cols());
    first << memory.middleRows(0, 11), memory.middleRows(12, 10), memory.middleRows(31, 9);
    second << memory.middleRows(11, 1), memory.middleRows(22, 9), memory.middleRows(40, 3);
    block.remember(first, pieces, {.sequences = sequences({0, 11, 21, 30})});
    block.remember(second, pieces, {.sequences = sequences({0, 1, 10, 13})});
    CHECK(cache.keys(1) == 19);

    const MultiHeadOptions<T> at{.query_offset = 5, .sequences = queries};
    MultiHeadOptions<T> dense = at;
    dense.key_sequences = cut;
    const RowMatrix<T> y = block(x, memory, dense);
    CHECK(same_bits(block(x, as_memory(cache), at), y));
    // Few rows have other bits: it is the rounding of their sums that differs.
    const double unit = static_cast<double>(Eigen::NumTraits<Compute<T>>::epsilon());
    CHECK(distance(block(x, as_memory(pieces), at), y) <= 8 * unit * magnitude(y));
}

}  // namespace

TEST_CASE("a memory that a cache remembers is read as the memory itself, from any position") {
    check<float>(scaled_dot_product >> alibi(0.1), {.d_model = 12, .heads = 4, .kv_heads = 2, .d_memory = 10}, 3);
    check<double>(scaled_dot_product >> (causal | prefix(7)), {.d_model = 12, .heads = 2, .rope = Rope{}}, 6);
    check<double>(scaled_dot_product >> causal,
                  {.d_model = 12, .heads = 2, .qk_norm = RmsNorm{}, .gate = OutputGate::headwise}, 6);
    check<double>(AdditiveAttention<double>(6, 6, 5, 1) >> soft_cap(2.0), {.d_model = 12, .heads = 2}, 5);
    check<float>(GeneralAttention<float>(6, 6, 1) >> sparsemax, {.d_model = 12, .heads = 2, .d_memory = 7}, 6);
    check<float>(cosine(3.0), {.d_model = 12, .heads = 2, .bias = false}, 6);
}

TEMPLATE_TEST_CASE("a block makes the cache that its steps fit", "", ScaledDotProductAttention, CosineAttention,
                   AdditiveAttention<double>) {
    const auto make = [] {
        if constexpr (std::is_same_v<TestType, AdditiveAttention<double>>) {
            return AdditiveAttention<double>(4, 4, 7, 1);
        } else {
            return TestType();
        }
    };
    const auto block = multi_head<double>({.d_model = 16, .heads = 4, .kv_heads = 2}, make() >> causal, 3);
    Random random(4);
    const RowMatrix<double> x = random_matrix<double>(random, 18, 16), all = block(x.topRows(9));
    auto cache = block.cache({.capacity = 9, .sequences = 2});
    RowMatrix<double> last;
    block.prefill(x, cache, last, {.sequences = sequences({0, 9, 18})});
    CHECK(last.rows() == 2);
    CHECK(distance(last.row(0), all.row(8)) < 1e-13);
    CHECK_THROWS_AS(block.step(x.topRows(2), cache, last), std::invalid_argument);  // one more for each
    last.resize(0, 0);
    auto narrow = block.template cache<Eigen::half>({.capacity = 9});
    static_assert(std::is_same_v<decltype(narrow), KvCache<double, Eigen::half>>);
    block.prefill(x.topRows(9), narrow, last);
    CHECK(distance(last, all.row(8)) < 0.01);
    CHECK_THROWS_AS(block.cache({.capacity = -1}), std::invalid_argument);
}

TEST_CASE("one cache serves several blocks, packed weights, two memories and stores of fewer bits") {
    const auto block =
        multi_head<float>({.d_model = 16, .heads = 4, .d_memory = 12, .d_value_memory = 20}, scaled_dot_product, 1);
    auto other =
        multi_head<float>({.d_model = 24, .heads = 8, .kv_heads = 4, .d_head = 4, .d_memory = 12, .d_value_memory = 20},
                          scaled_dot_product >> soft_cap(5.0), 2);
    other.key_weight = block.key_weight, other.value_weight = block.value_weight;
    const RowMatrix<float> keys_from = rows_of<float>(40, 12, 1), values_from = rows_of<float>(40, 20, 2),
                           x = rows_of<float>(3, 16, 3), z = rows_of<float>(3, 24, 4);
    const KvCacheShape shape{.heads = 4, .d_k = 4, .capacity = 40};
    KvCache<float> cache(shape), of_packed(shape), of_columns(shape);
    KvCache<float, Eigen::bfloat16> rounded(shape);
    const auto packed = block.pack();
    MultiHeadTape<float> tape;
    block.remember(keys_from, values_from, cache, {.tape = &tape});
    block.remember(keys_from, values_from, of_packed, {.tape = &tape, .packed = &packed});
    block.remember(Eigen::MatrixXf(keys_from), 1 * values_from, of_columns, {.tape = &tape});
    block.remember(keys_from, values_from, rounded);
    const RowMatrix<float> y = block(x, keys_from, values_from);
    CHECK(same_bits(block(x, as_memory(cache)), y));
    CHECK(same_bits(block(x, as_memory(of_packed)), y));
    CHECK(same_bits(block(x, as_memory(of_columns)), y));
    CHECK(same_bits(other(z, as_memory(cache)), other(z, keys_from, values_from)));
    const double apart = distance(block(x, as_memory(rounded)), y);
    CHECK((apart > 0 && apart < 0x1p-7 * magnitude(y)));
}

TEST_CASE("x that is remembered and asked again gives what its step gave") {
    const auto attention = scaled_dot_product >> alibi(0.2) >> causal;
    const auto block = multi_head<double>({.d_model = 12, .heads = 2, .rope = Rope{}}, attention, 1);
    const RowMatrix<double> x = rows_of<double>(20, 12, 1), whole = block(x);
    KvCache<double> cache({.heads = 2, .d_k = 6, .capacity = 20});
    block.remember(x, cache);
    // A cache takes the queries of a call for its latest tokens, RoPE too.
    for (const Index rows : {20, 11, 3, 1})
        CHECK(distance(block(x.bottomRows(rows), cache), whole.bottomRows(rows)) <= 4e-15 * magnitude(whole));
    CHECK(same_bits(block(x, as_memory(cache)), whole));

    RowMatrix<double> y, dx;
    MultiHeadTape<double> tape;
    block.forward(x.bottomRows(3), cache, y, {.tape = &tape});
    struct Nowhere {
        void add(Index, Index, Index, const RowBlock<double>&, const RowBlock<double>&) {}
    } nowhere;
    const RowMatrix<double> dy = rows_of<double>(3, 12, 2);
    block.backward(tape, dy, dx, cache, nowhere);
    RowMatrix<double> moved = x.bottomRows(3);
    const double h = 1e-6;
    for (Index a = 0; a < 12; ++a) {
        const auto loss = [&](double by) {
            moved(1, a) = x(18, a) + by;
            const double value = block(moved, cache).cwiseProduct(dy).sum();
            moved(1, a) = x(18, a);
            return value;
        };
        CHECK(std::abs((loss(h) - loss(-h)) / (2 * h) - dx(1, a)) <= 1e-8);
    }
}

TEST_CASE("a ring remembers the latest rows of a memory, at their positions") {
    const auto block = multi_head<double>({.d_model = 12, .heads = 2}, scaled_dot_product >> sliding_window(9, -1), 1);
    const RowMatrix<double> memory = rows_of<double>(50, 12, 1), x = rows_of<double>(2, 12, 2);
    RingCache<double> ring({.heads = 2, .d_k = 6, .keys = 12});
    for (Index i = 0; i < 50; i += 10) block.remember(memory.middleRows(i, 10), ring);
    CHECK(distance(block(x, as_memory(ring), {.query_offset = 47}), block(x, memory, {.query_offset = 47})) <= 1e-15);
}

TEST_CASE("what cannot be remembered is refused in words, and the cache stays as it was") {
    const auto block = multi_head<double>({.d_model = 12, .heads = 2, .d_memory = 10}, scaled_dot_product, 1);
    const RowMatrix<double> memory = rows_of<double>(5, 10, 1), x = rows_of<double>(5, 12, 2);
    KvCache<double> cache({.heads = 2, .d_k = 6, .capacity = 4}), wide({.heads = 2, .d_k = 7, .d_v = 6, .capacity = 9}),
        heads({.heads = 1, .d_k = 6, .capacity = 9}), two({.heads = 2, .d_k = 6, .capacity = 9, .sequences = 2});
    const auto refused = [&](auto& into, const auto& rows, const MultiHeadOptions<double>& options = {}) {
        const std::string text = refusal([&] { block.remember(rows, into, options); });
        CHECK(into.keys() == 0);
        return text;
    };
    CHECK(refused(cache, x) == "memory (5x12) must have 10 columns");
    CHECK(refused(cache, memory) == "kv_cache: sequence 0 holds 0 of 4 keys, 5 more do not fit");
    CHECK(refused(wide, memory) ==
          "remember: the cache holds 2 heads with keys of width 7 and values of 6, but the block's 2 key/value heads "
          "have keys of width 6 and values of 6");
    CHECK(refused(heads, memory) ==
          "remember: the cache holds 1 heads with keys of width 6 and values of 6, but the block's 2 key/value heads "
          "have keys of width 6 and values of 6");
    CHECK(refused(two, memory) ==
          "remember: memory has 5 rows for the cache's 2 sequences: one each, or give sequences");
    CHECK(refused(two, memory, {.sequences = sequences({0, 1, 4})}) ==
          "remember: sequences must end at the 5 rows of memory, not at 4");
    CHECK(refused(two, memory, {.query_offset = 1}) ==
          "remember: the cache says where queries stand and how many keys a sequence has: leave query_offset and "
          "key_sequences out");
    const auto other = multi_head<double>({.d_model = 12, .heads = 2, .d_memory = 9}, scaled_dot_product, 1).pack();
    CHECK(refused(two, memory, {.packed = &other}) ==
          "packed: holds key_weight (9x12), but the block's is 10x12: pack that block");
    const auto additive = multi_head<double>({.d_model = 12, .heads = 2}, AdditiveAttention<double>(5, 5, 4, 1), 1);
    CHECK(refusal([&] { additive.remember(x, cache); }) != "");
    const auto apart =
        multi_head<double>({.d_model = 12, .heads = 2, .d_memory = 10, .d_value_memory = 8}, scaled_dot_product, 1);
    CHECK(refusal([&] { apart.remember(memory, cache); }) ==
          "keys and values of this block come from memories of different widths, d_memory 10 and d_value_memory 8: "
          "give both, keys_from and values_from");
}

TEST_CASE("a step over a cache shows its weights to reductions, as the whole sequence does") {
    const auto attention = scaled_dot_product >> causal;
    const auto block = multi_head<double>({.d_model = 8, .heads = 4, .kv_heads = 2, .d_head = 3}, attention, 3);
    Random random(11);
    const RowMatrix<double> x = random_matrix<double>(random, 70, 8);
    auto whole = row_entropy<double>(), stepped = row_entropy<double>();
    auto sums = column_sums<double>();
    RowMatrix<double> y;
    block.forward(x, y, {.insight = {whole}});
    KvCache<double> cache({.heads = 2, .d_k = 3, .capacity = 70});
    block.remember(x.topRows(69), cache);
    RowMatrix<double> last;
    CHECK(refusal([&] {
              block.step(x.bottomRows(1), cache, last, {.insight = {stepped}, .dropout = {.rate = 0.5}});
          }) == "insight: reductions see the weights of a call without dropout: leave one of them out");
    CHECK(cache.keys() == 69);  // before anything is appended
    block.step(x.bottomRows(1), cache, last, {.insight = {stepped, sums}});
    CHECK((stepped.values() - whole.values().bottomRows(1)).cwiseAbs().maxCoeff() < 1e-12);
    CHECK(std::abs(sums.values().sum() - 4) < 1e-12);  // a weight of 1 for each head
}

TEST_CASE("tokens in the memory of steps are refused, and cached memories are read where they stand") {
    const auto block = multi_head<float>({.d_model = 12, .heads = 2}, scaled_dot_product, 3);
    KvCache<float, std::int8_t> cache({.heads = 2, .d_k = 6, .capacity = 40});
    Random random(12);
    RowMatrix<float> x = random_matrix<float>(random, 2, 12), y, out, memory;
    MultiHeadTape<float> tape;
    block.step(x, cache, y, {.tape = &tape});
    for (auto& kept : tape.step_memory) {
        if (kept.size() < 24) continue;
        Eigen::Map<RowMatrix<float>> inside(kept.data(), 2, 12);
        CHECK(refusal([&] { block.step(inside, cache, y, {.tape = &tape}); }) ==
              "x (2x12) is memory of the tape, which the call overwrites");
        CHECK(cache.keys() == 2);
    }
    scaled_dot_product(heads(x, 2), cache, out), scaled_dot_product(heads(x, 2), as_memory(cache), memory);
    CHECK(same_bits(out, memory));
}

}  // namespace test_multi_head_cache

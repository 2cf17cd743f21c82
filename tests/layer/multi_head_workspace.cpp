// What `workspace_bytes` of a block says is enough, and no call needs the heap then.

#include <support/allocations.hpp>

#include <attend/attend.hpp>

#include <vector>

#include <mixer/running_mean.hpp>
#include <support/catch.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_workspace {
namespace {

/// A workspace on a buffer of exactly so many bytes, which never grows.
struct Exactly {
    std::vector<std::byte> memory;
    Workspace workspace;

    explicit Exactly(std::size_t bytes) : memory(bytes + Workspace::alignment), workspace(aligned(memory, bytes)) {}
    static std::span<std::byte> aligned(std::vector<std::byte>& memory, std::size_t bytes) {
        void* start = memory.data();
        std::size_t space = memory.size();
        std::align(Workspace::alignment, bytes, start, space);
        return {static_cast<std::byte*>(start), bytes};
    }
};

template <class T>
RowMatrix<T> rows_of(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<T>(random, rows, columns);
}

/// Forward and backward of self- and cross-attention, ragged, and of a block that a cache serves.
template <class T, class A>
void check(const MultiHeadShape& shape, const A& attention, const std::vector<Index>& offsets) {
    CAPTURE(sizeof(T), shape.heads, shape.d_model, offsets.back());
    const auto block = multi_head<T>(shape, attention, 1);
    Index longest = 0;
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) longest = std::max(longest, offsets[s + 1] - offsets[s]);
    const Shape call{
        .sequences = std::ssize(offsets) - 1, .queries = longest, .keys = longest, .key_rows = offsets.back()};
    const RowMatrix<T> x = rows_of<T>(offsets.back(), shape.d_model, 1), dy = x;
    RowMatrix<T> y = x, dx = x;
    Exactly forward(block.workspace_bytes(call)), backward(block.workspace_bytes(call, 1, Pass::backward));
    auto gradient = zero_gradient(block);
    MultiHeadTape<T> tape;
    const Sequences cut = sequences(offsets);
    const auto train = [&] {
        block.forward(x, y, {.workspace = &forward.workspace, .tape = &tape, .sequences = cut});
        block.backward(tape, dy, dx, {.workspace = &backward.workspace, .gradient = &gradient});
    };
    train();
    CHECK(allocations_of(train) == 0);
}

}  // namespace

TEST_CASE("a workspace of what a block says is enough to train it") {
    const auto attention = scaled_dot_product >> causal;
    check<float>({.d_model = 64, .heads = 4, .kv_heads = 2}, attention, {0, 200});
    check<float>({.d_model = 64, .heads = 4}, attention, {0, 70, 71, 170, 300});
    check<double>({.d_model = 48, .heads = 4, .bias = false, .rope = Rope{}}, attention, {0, 90});
    check<float>({.d_model = 32, .heads = 2}, AdditiveAttention<float>(16, 16, 24, 1) >> causal, {0, 40, 90});
    check<float>({.d_model = 32, .heads = 2}, cosine(2.0) >> sparsemax, {0, 100});
    check<float>({.d_model = 32, .heads = 4}, recurrent(RunningMean{}), {0, 60});
}

TEST_CASE("a thousand steps of a cache that grows use no heap, over a workspace made beforehand") {
    const auto run = [](const auto& attention, const MultiHeadShape& shape, Index key_width, Index sequences) {
        const auto block = multi_head<float>(shape, attention, 1);
        CAPTURE(shape.heads, key_width, sequences);
        constexpr Index capacity = 1100, prompt = 60;
        KvCache<float> cache({.heads = block.shape().kv_heads,
                              .d_k = key_width,
                              .d_v = block.shape().d_head,
                              .capacity = capacity,
                              .sequences = sequences});
        Exactly most(block.workspace_bytes({.sequences = sequences, .queries = prompt, .keys = capacity}));
        Exactly one(block.workspace_bytes({.sequences = sequences, .queries = 1, .keys = capacity}));
        const RowMatrix<float> x = rows_of<float>(sequences * prompt, shape.d_model, 1);
        RowMatrix<float> y(sequences, shape.d_model), all = x;
        MultiHeadTape<float> tape;
        std::vector<Index> offsets;
        for (Index s = 0; s <= sequences; ++s) offsets.push_back(s * prompt);
        const Sequences cut = attend::sequences(offsets);
        block.step(x, cache, all, {.workspace = &most.workspace, .tape = &tape, .sequences = cut});
        const auto first = [&] {
            block.prefill(x.topRows(sequences), cache, y, {.workspace = &one.workspace, .tape = &tape});
        };
        first();
        CHECK(allocations_of([&] {
                  first();
                  for (Index i = 0; i < 1000; ++i)
                      block.step(x.topRows(sequences), cache, y, {.workspace = &one.workspace, .tape = &tape});
              }) == 0);
        CHECK(cache.keys(sequences - 1) == prompt + 1002);
        CHECK(y.allFinite());
    };
    run(scaled_dot_product >> causal, {.d_model = 32, .heads = 4}, 8, 1);
    run(scaled_dot_product >> causal, {.d_model = 32, .heads = 4, .kv_heads = 2}, 8, 3);
    run(AdditiveAttention<float>(16, 16, 5, 1) >> causal, {.d_model = 32, .heads = 2}, 5, 1);
    run(scaled_dot_product >> causal >> entmax15, {.d_model = 32, .heads = 2}, 16, 2);
}

TEST_CASE("a memory that is remembered, and calls on it, use no heap once they are warm") {
    const auto block = multi_head<float>({.d_model = 32, .heads = 4, .d_memory = 24, .d_value_memory = 40},
                                         GeneralAttention<float>(8, 8, 1) >> soft_cap(3.0), 1);
    const RowMatrix<float> keys_from = rows_of<float>(50, 24, 1), values_from = rows_of<float>(50, 40, 2),
                           x = rows_of<float>(20, 32, 3);
    const Eigen::MatrixXf columns = keys_from;
    RowMatrix<float> y = x, dx = x, dkeys = keys_from, dvalues = values_from;
    KvCache<float> cache({.heads = 4, .d_k = 8, .capacity = 50});
    Exactly buffer(block.workspace_bytes({.queries = 20, .keys = 50}, 1, Pass::backward));
    Exactly forward(block.workspace_bytes({.queries = 20, .keys = 50}));
    MultiHeadTape<float> tape, training;
    const auto call = [&] {
        cache.truncate(0);
        block.remember(columns, values_from, cache, {.tape = &tape});
        block.forward(x, as_memory(cache), y, {.workspace = &forward.workspace, .tape = &tape});
        block.forward(x, keys_from, values_from, y, {.workspace = &forward.workspace, .tape = &training});
        block.backward(training, x, dx, dkeys, dvalues, {.workspace = &buffer.workspace});
    };
    call();
    CHECK(allocations_of(call) == 0);
}

TEST_CASE("sizes that no call can have are refused") {
    const auto block = multi_head<float>({.d_model = 32, .heads = 4}, scaled_dot_product >> alibi(alibi_slopes(3)), 1);
    CHECK(refusal([&] { block.workspace_bytes({.queries = -1}); }).starts_with("workspace_bytes: sizes must not be"));
    CHECK(refusal([&] { block.workspace_bytes({.queries = 1, .keys = 1}); }) ==
          "alibi: slope (3 values) must have one value a head, there are 4 heads");
}

TEST_CASE(
    "what a block says of a capacity is enough for fewer tokens and keys, and steps that lack it append nothing") {
    const auto block = multi_head<float>({.d_model = 64, .heads = 8, .kv_heads = 2}, scaled_dot_product >> causal, 1);
    Random random(3);
    for (const auto& [most, capacity] : {std::pair<Index, Index>{17, 64}, {32, 2048}}) {
        CAPTURE(most, capacity);
        const std::size_t bytes = block.workspace_bytes({.queries = most, .keys = capacity});
        Exactly exactly(bytes), tiny(64);
        // No more than the calls of the attention that a step is made of need at most.
        std::size_t needed = 0;
        for (Index n = 1; n <= most; ++n) {
            const Shape call{.heads = 8, .kv_heads = 2, .queries = n, .keys = capacity, .d_q = 8, .d_k = 8, .d_v = 8};
            needed = std::max(needed, block.attention.workspace_bytes<float>(call));
        }
        CHECK(bytes == needed);
        KvCache<float> cache({.heads = 2, .d_k = 8, .capacity = capacity});
        RowMatrix<float> y;
        while (cache.keys() < capacity) {
            const Index rows = std::min(random_index(random, 1, most), capacity - cache.keys()), before = cache.keys();
            const RowMatrix<float> x = random_matrix<float>(random, rows, 64);
            y.resize(rows, 64);
            CHECK(refusal<std::length_error>([&] { block.step(x, cache, y, {.workspace = &tiny.workspace}); }) != "");
            REQUIRE(cache.keys() == before);
            block.step(x, cache, y, {.workspace = &exactly.workspace});
        }
    }
}

}  // namespace test_multi_head_workspace

// needs: threads
//
// Prompts, of which the last token's result is wanted: what a step over all their rows gives in its last ones, also
// beside sequences that get one token, or none.

#include <attend/attend.hpp>

#include <vector>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_prefill {
namespace {

constexpr Index d = 24;

template <class T>
RowMatrix<T> tokens_of(Index rows, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<T>(random, rows, d);
}

/// A prompt and what is generated after it, beside the same in steps and the whole at once.
template <class T, class Cache, class A>
void check_last_rows(const A& attention, const MultiHeadShape& shape, const Cache& empty, double tolerance) {
    CAPTURE(sizeof(T), shape.kv_heads);
    const auto block = multi_head<T>(shape, attention, 1);
    const RowMatrix<T> x = tokens_of<T>(40, 1), whole = block(x);
    Cache cache = empty, stepped = empty;
    RowMatrix<T> y, last, last_stepped;
    block.prefill(x.topRows(33), cache, last);
    REQUIRE((last.rows() == 1 && last.cols() == d));
    CHECK(distance(last, whole.row(32)) <= tolerance * magnitude(whole));
    block.step(x.topRows(33), stepped, y);
    for (Index i = 33; i < 40; ++i) {  // the same keys are there
        RowMatrix<T> next, next_stepped;
        block.prefill(x.row(i), cache, next);
        block.step(x.row(i), stepped, next_stepped);
        CHECK(same_bits(next, next_stepped));
        CHECK(distance(next, whole.row(i)) <= tolerance * magnitude(whole));
    }
}

}  // namespace

TEST_CASE("a prompt gives what its last token gives among all, and leaves the keys of all") {
    const auto attention = scaled_dot_product >> alibi(0.1) >> causal;
    const MultiHeadShape grouped{.d_model = d, .heads = 4, .kv_heads = 2, .rope = Rope{}},
        two{.d_model = d, .heads = 2},
        gated{.d_model = d, .heads = 4, .kv_heads = 2, .qk_norm = RmsNorm{}, .gate = OutputGate::elementwise};
    check_last_rows<double>(attention, gated, KvCache<double>({.heads = 2, .d_k = 6, .capacity = 40}), 2e-15);
    check_last_rows<double>(attention, grouped, KvCache<double>({.heads = 2, .d_k = 6, .capacity = 40}), 2e-15);
    check_last_rows<float>(attention, two, KvCache<float>({.heads = 2, .d_k = 12, .capacity = 40}), 2e-6);
    check_last_rows<float>(AdditiveAttention<float>(12, 12, 5, 1) >> causal, two,
                           KvCache<float>({.heads = 2, .d_k = 5, .d_v = 12, .capacity = 40}), 4e-6);
    check_last_rows<Eigen::half>(attention, two, KvCache<float>({.heads = 2, .d_k = 12, .capacity = 40}), 4e-3);
    check_last_rows<double>(scaled_dot_product >> (causal & (sliding_window(30) | prefix(3))), grouped,
                            RingCache<double>({.heads = 2, .d_k = 6, .keys = 36, .sinks = 3}), 2e-15);
}

TEST_CASE("prompts, single tokens and sequences that rest, in one call, have the bits of calls of their own") {
    const auto attention = scaled_dot_product >> causal;
    const auto block = multi_head<float>({.d_model = d, .heads = 4, .kv_heads = 2, .rope = Rope{}}, attention, 1);
    const auto packed = block.pack();
    Eigen::ThreadPool pool(2);
    const auto threads = thread_pool(pool);
    constexpr Index count = 6;
    KvCacheShape one{.heads = 2, .d_k = 6, .capacity = 80}, all = one;
    all.sequences = count;
    // Every sequence starts with a prompt at another time than its neighbour, and rests at another.
    const Index lengths[3][count] = {{20, 0, 1, 0, 31, 1}, {1, 17, 1, 0, 1, 0}, {1, 1, 0, 40, 9, 1}};
    for (const auto* weights : {static_cast<const PackedProjections<float>*>(nullptr), &packed}) {
        KvCache<float> stepped(all), prompted(all);
        std::vector<KvCache<float>> alone(count, KvCache<float>(one)), prompted_alone = alone;
        MultiHeadTape<float> tape;
        Workspace workspace;
        RowMatrix<float> last = RowMatrix<float>::Constant(count, d, 7);
        std::uint64_t seed = 0;
        for (const auto& of_call : lengths) {
            std::vector<Index> offsets{0};
            for (const Index length : of_call) offsets.push_back(offsets.back() + length);
            const RowMatrix<float> x = tokens_of<float>(offsets.back(), ++seed), before = last;
            const MultiHeadOptions<float> options{.workspace = &workspace,
                                                  .executor = threads,
                                                  .tape = &tape,
                                                  .sequences = sequences(offsets),
                                                  .packed = weights};
            RowMatrix<float> y;
            block.step(x, stepped, y, options);
            block.prefill(x, prompted, last, options);
            for (Index s = 0; s < count; ++s) {
                const Index begin = offsets[static_cast<std::size_t>(s)], rows = of_call[s];
                CAPTURE(seed, s, rows);
                RowMatrix<float> y_alone, last_alone = before.row(s);
                block.step(x.middleRows(begin, rows), alone[static_cast<std::size_t>(s)], y_alone, {.packed = weights});
                block.prefill(x.middleRows(begin, rows), prompted_alone[static_cast<std::size_t>(s)], last_alone,
                              {.packed = weights});
                CHECK(same_bits(y.middleRows(begin, rows), y_alone));
                CHECK(same_bits(last.row(s), last_alone));
                if (rows == 0) {
                    CHECK(same_bits(last.row(s), before.row(s)));
                } else {
                    CHECK(distance(last.row(s), y_alone.bottomRows(1)) <= 2e-6 * magnitude(y_alone));
                }
            }
        }
    }
}

TEST_CASE("y may be the memory of x, and of any storage order") {
    const auto block = multi_head<float>({.d_model = d, .heads = 4}, scaled_dot_product >> causal, 1);
    const KvCacheShape shape{.heads = 4, .d_k = 6, .capacity = 40, .sequences = 2};
    const Sequences cut = sequences({0, 13, 24});
    RowMatrix<float> x = tokens_of<float>(24, 1), y, in_x = x, all, all_in_x = x;
    Eigen::MatrixXf columns;
    KvCache<float> a(shape), b(shape), c(shape), e(shape), f(shape);
    block.prefill(x, a, y, {.sequences = cut});
    block.prefill(x, b, columns, {.sequences = cut});
    block.prefill(in_x, c, in_x.topRows(2), {.sequences = cut});
    CHECK(same_bits(y, columns));
    CHECK(same_bits(y, in_x.topRows(2)));
    block.step(x, e, all, {.sequences = cut});
    block.step(all_in_x, f, all_in_x, {.sequences = cut});
    CHECK(same_bits(all, all_in_x));
}

TEST_CASE("the weights of a prompt are those of its last row") {
    const auto block = multi_head<double>({.d_model = d, .heads = 2}, scaled_dot_product >> causal, 1);
    const RowMatrix<double> x = tokens_of<double>(10, 1);
    KvCache<double> cache({.heads = 2, .d_k = 12, .capacity = 10});
    RowMatrix<double> y, weights, whole;
    block.forward(x, y, {.weights = whole});
    y.resize(0, 0);
    block.prefill(x, cache, y, {.weights = weights});
    REQUIRE((weights.rows() == 2 && weights.cols() == 10));
    CHECK(distance(weights.row(0), whole.row(9)) <= 1e-15);
    CHECK(distance(weights.row(1), whole.row(19)) <= 1e-15);
}

TEST_CASE("a prompt that does not fit is refused, and cache and y stay as they were") {
    const auto block = multi_head<double>({.d_model = d, .heads = 4}, scaled_dot_product >> causal, 1);
    KvCache<double> two({.heads = 4, .d_k = 6, .capacity = 5, .sequences = 2});
    const auto refused = [&](Index rows, RowMatrix<double> y, MultiHeadOptions<double> options = {}) {
        const RowMatrix<double> before = y;
        const std::string text = refusal([&] { block.prefill(tokens_of<double>(rows, 1), two, y, options); });
        CHECK((two.keys(0) == 0 && two.keys(1) == 0));
        CHECK(same_bits(y, before));
        return text;
    };
    const RowMatrix<double> none, fits = RowMatrix<double>::Ones(2, d), wrong = RowMatrix<double>::Ones(4, d);
    CHECK(refused(3, fits) == "prefill: x has 3 rows for the cache's 2 sequences: one each, or give sequences");
    CHECK(refused(4, wrong, {.sequences = sequences({0, 3, 4})}) == "y (4x24) must be 2x24, or empty to be resized");
    CHECK(refused(6, none, {.sequences = sequences({0, 6, 6})}) ==
          "kv_cache: sequence 0 holds 0 of 5 keys, 6 more do not fit");
    CHECK(refused(6, none, {.sequences = sequences({0, 2, 5})}) ==
          "prefill: sequences must end at the 6 rows of x, not at 5");
    CHECK(refused(4, none, {.query_offset = 2, .sequences = sequences({0, 3, 4})}).starts_with("prefill: the cache"));
    const auto crossing = multi_head<double>({.d_model = d, .heads = 4, .d_memory = 5}, scaled_dot_product, 1);
    RowMatrix<double> y;
    CHECK(refusal([&] { crossing.prefill(fits, two, y); }) ==
          "self-attention needs d_memory (5) equal to d_model (24)");
    MultiHeadTape<double> tape;
    block.prefill(fits, two, y, {.tape = &tape});
    RowMatrix<double> dx;
    CHECK(refusal([&] { block.backward(tape, y, dx); }) == "backward: the tape was a step's, which records nothing");
    Eigen::Map<RowMatrix<double>> in_tape(tape.step_memory[1].data(), 2, d);
    CHECK(refusal([&] {
              block.step(fits, two, in_tape, {.tape = &tape});
          }).starts_with("y (2x24) aliases the tape's memory of steps"));
    CHECK(two.keys(0) == 1);
}

}  // namespace test_multi_head_prefill

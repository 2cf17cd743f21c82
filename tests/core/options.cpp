// needs: openmp
// needs: threads
// What is stored for a later call is alive when that call comes: options, and the heads of what was a temporary.

#include <optional>
#include <type_traits>
#include <vector>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <attend/attention.hpp>
#include <attend/layer/multi_head.hpp>
#include <attend/mask/causal.hpp>
#include <attend/position/rope.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_options {
namespace {

/// Takes the memory that was freed last and fills it, as the code between storing and using would.
std::vector<std::vector<Index>> reuse_freed_memory() {
    std::vector<std::vector<Index>> blocks;
    for (std::size_t size = 1; size < 64; ++size) blocks.emplace_back(size, Index(-7));
    return blocks;
}

const Layout ragged{.queries = 10,
                    .keys = 12,
                    .d_q = 8,
                    .d_k = 8,
                    .d_v = 8,
                    .heads = 2,
                    .kv_heads = 2,
                    .sequences = {0, 4, 10},
                    .key_sequences = {0, 5, 12}};

/// A user's executor, small enough to be kept by value.
struct CountingExecutor {
    int* calls;

    Index concurrency() const { return 2; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        ++*calls;
        for (Index i = 0; i < count; ++i) f(i);
    }
};

}  // namespace

TEST_CASE("stored options keep sequences that were temporaries") {
    const auto attention = scaled_dot_product >> causal;
    const Operands<float> x = random_operands<float>(ragged, 1);
    const auto q = heads(x.q, 2), k = heads(x.k, 2), v = heads(x.v, 2);
    const Sequences queries = sequences({0, 4, 10}), keys = sequences({0, 5, 12});
    Eigen::MatrixXf lse;
    const Eigen::MatrixXf wanted = attention(q, k, v, {.lse = lse, .sequences = queries, .key_sequences = keys});

    ForwardOptions<float> options{.sequences = sequences({0, 4, 10}), .key_sequences = sequences({0, 5, 12})};
    const auto blocks = reuse_freed_memory();
    CHECK(attention(q, k, v, options) == wanted);

    SECTION("copied and assigned, they share them") {
        std::optional<ForwardOptions<float>> first(std::move(options));
        ForwardOptions<float> second = *first, third;
        third = *first;
        first.reset();
        options = {};
        const auto more = reuse_freed_memory();
        CHECK(attention(q, k, v, second) == wanted);
        CHECK(attention(q, k, v, third) == wanted);
    }
    SECTION("assigned one by one") {
        ForwardOptions<float> later;
        later.sequences = sequences(std::vector<Index>{0, 4, 10});
        later.key_sequences = sequences(std::vector<Index>{0, 5, 12});
        const auto more = reuse_freed_memory();
        CHECK(attention(q, k, v, later) == wanted);
    }
    SECTION("backward") {
        using A = std::remove_const_t<decltype(attention)>;
        Eigen::MatrixXf dq, dk, dv, dq_wanted, dk_wanted, dv_wanted;
        attention.backward(q, k, v, wanted, lse, x.dout, dq_wanted, dk_wanted, dv_wanted,
                           {.sequences = queries, .key_sequences = keys});
        const BackwardOptions<A> back{.sequences = sequences({0, 4, 10}), .key_sequences = sequences({0, 5, 12})};
        const auto more = reuse_freed_memory();
        attention.backward(q, k, v, wanted, lse, x.dout, dq, dk, dv, back);
        CHECK(dq == dq_wanted);
        CHECK(dk == dk_wanted);
        CHECK(dv == dv_wanted);
    }
    SECTION("a block's") {
        const MultiHeadAttention<float> block({.d_model = 8, .heads = 2});
        const RowMatrix<float> rows = x.q.leftCols(8), memory = x.k.leftCols(8);
        const MultiHeadOptions<float> stored{.sequences = sequences({0, 4, 10}),
                                             .key_sequences = sequences({0, 5, 12})};
        const auto more = reuse_freed_memory();
        CHECK(block(rows, memory, stored) == block(rows, memory, {.sequences = queries, .key_sequences = keys}));
    }
}

TEST_CASE("sequences outlive the temporary that their offsets are asked of, and a move") {
    const auto& offsets = sequences({0, 4, 10}).offsets();
    Sequences first = sequences({0, 3, 5});
    const Sequences second = std::move(first);
    const auto blocks = reuse_freed_memory();
    CHECK(offsets == std::vector<Index>{0, 4, 10});
    CHECK(first.offsets() == second.offsets());
}

TEST_CASE("stored options keep executors that were temporaries") {
    const Operands<float> x = random_operands<float>({.queries = 70, .keys = 80, .heads = 4, .kv_heads = 4}, 2);
    const auto q = heads(x.q, 4), k = heads(x.k, 4), v = heads(x.v, 4);
    const Eigen::MatrixXf wanted = scaled_dot_product(q, k, v);
    Eigen::ThreadPool pool(2);
    int calls = 0;
    const auto check = [&](ForwardOptions<float> options) {
        const auto blocks = reuse_freed_memory();
        CHECK(options.executor.concurrency() >= 2);
        CHECK(scaled_dot_product(q, k, v, options) == wanted);
        const BackwardOptions<ScaledDotProductAttention> back{.executor = options.executor};
        options = {};
        Eigen::MatrixXf lse, dq, dk, dv, dq_wanted, dk_wanted, dv_wanted;
        const Eigen::MatrixXf out = scaled_dot_product(q, k, v, {.lse = lse});
        scaled_dot_product.backward(q, k, v, out, lse, x.dout, dq, dk, dv, back);
        scaled_dot_product.backward(q, k, v, out, lse, x.dout, dq_wanted, dk_wanted, dv_wanted);
        CHECK(dq == dq_wanted);
        CHECK(dv == dv_wanted);
    };
    const auto stored = [](auto&& make) {
        ForwardOptions<float> options{.executor = make()};
        return options;
    };
    check(stored([&] { return thread_pool(pool); }));
    check(stored([&] { return CountingExecutor{&calls}; }));
    CHECK(calls > 0);
#if defined(_OPENMP)
    check(stored([] { return openmp(2); }));
#endif
}

TEST_CASE("heads of a temporary matrix hold it") {
    const Operands<float> x =
        random_operands<float>({.queries = 9, .keys = 11, .d_q = 4, .d_k = 4, .heads = 4, .kv_heads = 4}, 3);
    const Eigen::MatrixXf doubled = 2.f * x.q;
    const Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> array = x.v.array();
    const Eigen::MatrixXf wanted = scaled_dot_product(heads(doubled, 4), heads(x.k, 4), heads(x.v, 4));

    auto q = heads((2.f * x.q).eval(), 4);
    auto k = heads(Eigen::MatrixXf(x.k), 4);
    const auto v = heads((array + 0.f).eval(), 4);
    const auto blocks = reuse_freed_memory();
    CHECK(scaled_dot_product(q, k, v) == wanted);
    CHECK(scaled_dot_product(heads((2.f * x.q).eval(), 4), heads(Eigen::MatrixXf(x.k), 4), v) == wanted);

    SECTION("in what is copied and moved, too") {
        const auto copy = q;
        const auto moved = std::move(q);
        CHECK(scaled_dot_product(copy, k, v) == wanted);
        CHECK(scaled_dot_product(moved, k, v) == wanted);
    }
    SECTION("turned in place, and seen through views") {
        Eigen::MatrixXf turned = doubled;
        Rope{}(heads(turned, 4), 3);
        auto held = heads(Eigen::MatrixXf(doubled), 4);
        const auto more = reuse_freed_memory();
        const StridedView<const float> view = held;
        Rope{}(held, 3);
        const Eigen::MatrixXf wanted_turned = scaled_dot_product(heads(turned, 4), k, v);
        CHECK(scaled_dot_product(held, k, v) == wanted_turned);
        CHECK(scaled_dot_product(view, k, v) == wanted_turned);
    }
    SECTION("as every input of backward") {
        Eigen::MatrixXf lse, dq, dk, dv, dq_wanted, dk_wanted, dv_wanted;
        scaled_dot_product(q, k, v, {.lse = lse});
        scaled_dot_product.backward(heads(doubled, 4), heads(x.k, 4), heads(x.v, 4), wanted, lse, x.dout, dq_wanted,
                                    dk_wanted, dv_wanted);
        scaled_dot_product.backward(q, k, v, heads(Eigen::MatrixXf(wanted), 4), heads(Eigen::MatrixXf(lse), 4),
                                    heads(Eigen::MatrixXf(x.dout), 4), dq, dk, dv);
        CHECK(dq == dq_wanted);
        CHECK(dk == dk_wanted);
        CHECK(dv == dv_wanted);
    }
}

TEST_CASE("heads move a temporary without a copy, and only where they divide its columns") {
    Eigen::MatrixXf x = Eigen::MatrixXf::Ones(3, 8);
    const float* const memory = x.data();
    CHECK_THROWS_AS(heads(std::move(x), 3), std::invalid_argument);
    REQUIRE(x.size() == 24);
    auto moved = heads(std::move(x), 4);
    CHECK(StridedView<float>(moved).data == memory);

    const Eigen::MatrixXf y = Eigen::MatrixXf::Ones(3, 8);
    const auto view = heads(Eigen::Map<const Eigen::MatrixXf>(y.data(), 3, 8), 4);
    STATIC_REQUIRE(std::is_same_v<decltype(view), const StridedView<const float>>);
    STATIC_REQUIRE(std::is_same_v<decltype(heads(y, 4)), StridedView<const float>>);
    CHECK(view.data == y.data());
}

}  // namespace test_options

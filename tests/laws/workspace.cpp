// needs: threads
// A call needs what workspace_bytes says, to the byte, whatever it is made of and however many workers it has.

#include <array>
#include <cstring>
#include <vector>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_workspace {
namespace {

constexpr std::array passes{Pass::forward, Pass::weights, Pass::backward};

/// A buffer aligned as workspaces are, between bytes that nobody may touch.
class GuardedBuffer {
public:
    explicit GuardedBuffer(std::size_t bytes) : bytes_(bytes), memory_(bytes + 3 * Workspace::alignment, guard) {
        void* start = memory_.data() + Workspace::alignment;
        std::size_t space = memory_.size() - Workspace::alignment;
        start_ = static_cast<std::byte*>(std::align(Workspace::alignment, bytes, start, space));
    }
    std::span<std::byte> first(std::size_t bytes) { return {start_, bytes}; }
    bool is_guarded() const {
        const auto untouched = [](const std::byte* from, const std::byte* to) {
            return std::all_of(from, to, [](std::byte b) { return b == guard; });
        };
        return untouched(memory_.data(), start_) && untouched(start_ + bytes_, memory_.data() + memory_.size());
    }

private:
    static constexpr std::byte guard{0x5a};
    std::size_t bytes_;
    std::vector<std::byte> memory_;
    std::byte* start_;
};

/// What a call of some pass wrote.
template <class T>
struct Written {
    std::vector<RowMatrix<T>> operands;
    std::vector<RowMatrix<Compute<T>>> scores;

    friend bool operator==(const Written& a, const Written& b) {
        return a.operands == b.operands && a.scores == b.scores;
    }
};

template <class T, class A>
class Calls {
public:
    Calls(const A& attention, const Layout& layout)
        : attention_(attention),
          x_(random_operands<T>(layout, 1)),
          sequences_(sequences(layout.sequences)),
          key_sequences_(sequences(layout.key_sequences)),
          y_(forward(attention, x_)) {}

    /// Writes to `to`, whose matrices hold 7 before.
    void call(Pass pass, attend::detail::ExecutorRef executor, Workspace* workspace, Written<T>& to) const {
        const Layout& n = x_.layout;
        const auto q = x_.query_heads(), k = x_.key_heads(), v = x_.value_heads();
        if (pass == Pass::backward) {
            to.operands = {RowMatrix<T>::Constant(n.queries, n.heads * n.d_q, T(7)),
                           RowMatrix<T>::Constant(n.keys, n.kv_heads * n.d_k, T(7)),
                           RowMatrix<T>::Constant(n.keys, n.kv_heads * n.d_v, T(7))};
            attention_.backward(q, k, v, heads(y_.out, n.heads), y_.lse, heads(x_.dout, n.heads), to.operands[0],
                                to.operands[1], to.operands[2],
                                {.workspace = workspace,
                                 .executor = executor,
                                 .sequences = sequences_,
                                 .key_sequences = key_sequences_});
            return;
        }
        to.operands = {RowMatrix<T>::Constant(n.queries, n.heads * n.d_v, T(7))};
        ForwardOptions<Compute<T>> options{
            .workspace = workspace, .executor = executor, .sequences = sequences_, .key_sequences = key_sequences_};
        if (pass == Pass::weights) {
            to.scores = {RowMatrix<Compute<T>>::Constant(y_.weights.rows(), y_.weights.cols(), 7)};
            options.weights = to.scores[0];
        }
        attention_(q, k, v, to.operands[0], options);
    }
    Shape shape() const {
        const Layout& n = x_.layout;
        Shape shape{.sequences = std::ssize(n.sequences) - 1,
                    .heads = n.heads,
                    .kv_heads = n.kv_heads,
                    .d_q = n.d_q,
                    .d_k = n.d_k,
                    .d_v = n.d_v,
                    .key_rows = n.keys};
        for (std::size_t s = 1; s < n.sequences.size(); ++s) {
            shape.queries = std::max(shape.queries, n.sequences[s] - n.sequences[s - 1]);
            shape.keys = std::max(shape.keys, n.key_sequences[s] - n.key_sequences[s - 1]);
        }
        return shape;
    }

private:
    const A& attention_;
    Operands<T> x_;
    Sequences sequences_, key_sequences_;
    Outputs<T> y_;
};

template <class T, class A, class Executor>
void check_need(const A& attention, const Calls<T, A>& calls, const Executor& executor) {
    for (const Pass pass : passes) {
        const std::size_t need = attention.template workspace_bytes<T>(calls.shape(), executor.concurrency(), pass);
        CAPTURE(sizeof(T), executor.concurrency(), static_cast<int>(pass), need);
        Written<T> expected, written, untouched;
        calls.call(pass, serial, nullptr, expected);

        GuardedBuffer buffer(need);
        Workspace enough(buffer.first(need)), lacking(buffer.first(need - 1));
        CHECK(refusal<std::length_error>([&] { calls.call(pass, executor, &lacking, untouched); }) ==
              attend::detail::words("workspace: the call needs ", need, " bytes, the fixed buffer holds ", need - 1));
        for (const auto& x : untouched.operands) CHECK((x.array() == T(7)).all());
        for (const auto& x : untouched.scores) CHECK((x.array() == 7).all());
        calls.call(pass, executor, &enough, written);
        CHECK(written == expected);
        CHECK(buffer.is_guarded());
        CHECK(Workspace(need).bytes() == need);
    }
}

template <class T, class A>
void check_need(const A& attention) {
    Eigen::ThreadPool one(1), seven(7);
    for (const Layout& layout : {Layout{.queries = 80,
                                .keys = 95,
                                .d_q = 12,
                                .d_k = 12,
                                .d_v = 20,
                                .heads = 4,
                                .kv_heads = 2,
                                .sequences = {0, 3, 80},
                                .key_sequences = {0, 20, 95}},
                                 Layout{.queries = 1,
                                 .keys = 2100,
                                 .d_q = 12,
                                 .d_k = 12,
                                 .d_v = 5,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .sequences = {0, 1},
                                 .key_sequences = {0, 2100}}}) {
        const Calls<T, A> calls(attention, layout);
        check_need(attention, calls, serial);
        check_need(attention, calls, thread_pool(one));
        check_need(attention, calls, thread_pool(seven));
    }
}

}  // namespace

TEST_CASE("a buffer of workspace_bytes is enough, and one byte less is refused before anything is written") {
    check_need<float>(scaled_dot_product);
    check_need<float>(AdditiveAttention<float>(12, 12, 9, 1) >> alibi(0.1) >> (causal & sliding_window(30)) >>
                      softmax_with_sink(0.5));
    check_need<double>(GeneralAttention<double>(12, 12, 1) >> soft_cap(3.0) >> entmax15);
    check_need<double>(cosine(3.0) >> causal >> sparsemax);
    check_need<Eigen::half>(dot_product >> soft_cap(3.0) >> top_k(4));
    check_need<Eigen::half>(scaled_dot_product >> causal >> sigmoid(-2.0));
    check_need<long double>(scaled_dot_product >> causal);
}

TEST_CASE("an LSE needs no more than the output") {
    const auto check_lse = [](const auto& attention) {
        const Operands<float> x = random_operands<float>({.queries = 9, .keys = 70}, 2);
        Workspace workspace;
        RowMatrix<float> out;
        Eigen::VectorXf lse;
        attention(x.q, x.k, x.v, out, {.workspace = &workspace, .lse = lse});
        CHECK(workspace.bytes() == attention.workspace_bytes({.queries = 9, .keys = 70, .d_q = 3, .d_k = 3, .d_v = 2}));
    };
    check_lse(scaled_dot_product);
    check_lse(scaled_dot_product >> sigmoid(-2.0));
    check_lse(scaled_dot_product >> sparsemax);
}

TEST_CASE("forward memory does not grow with the keys, but for what the chunks of a split row leave behind") {
    const auto need = [](const auto& attention, Index queries, Index keys, Index workers = 1) {
        return attention.workspace_bytes({.queries = queries, .keys = keys, .d_q = 64, .d_k = 64, .d_v = 64}, workers);
    };
    const auto sink = scaled_dot_product >> alibi(0.1) >> causal >> softmax_with_sink(0.5);
    const auto sparse = scaled_dot_product >> sparsemax;
    for (const Index workers : {1, 2, 8}) {
        CHECK(need(scaled_dot_product, 512, 65536, workers) == need(scaled_dot_product, 512, 4096, workers));
        CHECK(need(sink, 512, 65536, workers) == need(sink, 512, 4096, workers));
        CHECK(need(scaled_dot_product >> sigmoid(0.0), 1, 65536, workers) ==
              need(scaled_dot_product >> sigmoid(0.0), 1, 4096, workers));
    }
    CHECK(need(sparse, 512, 65536) > 8 * need(sparse, 512, 4096));
    const std::size_t one = need(sink, 1, 4096), two = need(sink, 1, 8192), three = need(sink, 1, 12288);
    CHECK(two > one);
    CHECK(three - two == two - one);
    CHECK(need(sink, 1, 4097) - one == (two - one) / 4);
}

TEST_CASE("a call that a buffer is too small for leaves empty results empty") {
    const Operands<float> x = random_operands<float>({.queries = 9, .keys = 70}, 2);
    alignas(Workspace::alignment) std::byte buffer[64];
    Workspace lacking{std::span(buffer)};
    RowMatrix<float> out, dq, dk, dv;
    Eigen::VectorXf lse = Eigen::VectorXf::Zero(9);
    const RowMatrix<float> y = RowMatrix<float>::Zero(9, 2);
    CHECK(refusal<std::length_error>([&] { scaled_dot_product(x.q, x.k, x.v, out, {.workspace = &lacking}); }) != "");
    CHECK(refusal<std::length_error>([&] {
              scaled_dot_product.backward(x.q, x.k, x.v, y, lse, x.dout, dq, dk, dv, {.workspace = &lacking});
          }) != "");
    CHECK(out.size() + dq.size() + dk.size() + dv.size() == 0);
}

TEST_CASE("backward memory grows with the sequence, not with its square") {
    const auto need = [](const auto& attention, Index n, Index heads, Index workers = 1) {
        return attention.workspace_bytes(
            {.heads = heads, .kv_heads = heads, .queries = n, .keys = n, .d_q = 64, .d_k = 64, .d_v = 64}, workers,
            Pass::backward);
    };
    for (const Index heads : {1, 12}) {
        for (const Index workers : {1, 2, 8}) {
            CHECK(need(scaled_dot_product >> causal, 65536, heads, workers) <
                  17 * need(scaled_dot_product >> causal, 4096, heads, workers));
            CHECK(need(AdditiveAttention<float>(64, 64, 64, 1), 65536, heads, workers) <
                  17 * need(AdditiveAttention<float>(64, 64, 64, 1), 4096, heads, workers));
        }
    }
    // What one score matrix would take.
    CHECK(need(scaled_dot_product, 16384, 1) < 16384u * 16384u * sizeof(float) / 8);
}

TEST_CASE("workspace_bytes refuses the shapes that a call refuses") {
    const auto need = [](const auto& attention, const Shape& shape, Index workers = 1) {
        return refusal([&] { return attention.workspace_bytes(shape, workers); });
    };
    const Shape good{.heads = 4, .kv_heads = 2, .queries = 5, .keys = 6, .d_q = 3, .d_k = 3, .d_v = 2};
    CHECK(need(scaled_dot_product, good) == "");
    Shape bad = good;
    bad.d_k = 4;
    CHECK(need(scaled_dot_product, bad) == "q (4 heads x 5x3) and k (2 heads x 6x4) must have the same width");
    bad = good;
    bad.kv_heads = 3;
    CHECK(need(scaled_dot_product, bad) ==
          "the 3 key/value heads of k (3 heads x 6x3) must divide the 4 query heads of q (4 heads x 5x3)");
    CHECK(need(GeneralAttention<float>(5, 3, 1), good) ==
          "q (5x3) and k (6x3) must be as wide as the general score's weight (5x3) has rows and columns");
    CHECK(need(scaled_dot_product >> alibi(alibi_slopes(3)), good) != "");
    bad = good;
    bad.keys = -1;
    const std::string sizes = "workspace_bytes: sizes must not be negative, and there must be at least one worker";
    CHECK(need(scaled_dot_product, bad) == sizes);
    CHECK(need(scaled_dot_product, good, 0) == sizes);
}

TEST_CASE("a batch needs memory for its rows and for the tasks that run at a time, not for its longest sequence") {
    const Shape ragged{.sequences = 1000,
                       .heads = 8,
                       .kv_heads = 8,
                       .queries = 1,
                       .keys = 8192,
                       .d_q = 64,
                       .d_k = 64,
                       .d_v = 64,
                       .key_rows = 100'000};
    CHECK(scaled_dot_product.workspace_bytes(ragged) < 100'000u * 8u * 64u * sizeof(float) / 4);
    const Shape one{.queries = 16, .keys = 64, .d_q = 8, .d_k = 8, .d_v = 8};
    for (const Pass pass : passes) {
        CAPTURE(static_cast<int>(pass));
        CHECK(scaled_dot_product.workspace_bytes(one, 64, pass) == scaled_dot_product.workspace_bytes(one, 1, pass));
    }
}

TEST_CASE("the memory of a ragged batch does not grow with the number of its sequences, backward too") {
    const AdditiveAttention<float> additive(64, 64, 16, 1);
    for (const Index kv_heads : {1, 2, 8}) {
        const auto shape = [=](Index sequences) {
            return Shape{.sequences = sequences,
                         .heads = 8,
                         .kv_heads = kv_heads,
                         .queries = 300,
                         .keys = 8192,
                         .d_q = 64,
                         .d_k = 64,
                         .d_v = 64,
                         .key_rows = 100'000};
        };
        for (const Index workers : {1, 2}) {
            CAPTURE(kv_heads, workers);
            const auto need = [&](const auto& attention, Index sequences) {
                return attention.workspace_bytes(shape(sequences), workers, Pass::backward);
            };
            CHECK(need(scaled_dot_product, 1000) == need(scaled_dot_product, 100));
            CHECK(need(additive, 1000) == need(additive, 100));
        }
        const std::size_t features = 100'000u * static_cast<std::size_t>(kv_heads) * 16u * sizeof(float);
        CHECK(additive.workspace_bytes(shape(1000)) < 4 * features + (std::size_t(64) << 20));
    }
}

}  // namespace test_workspace

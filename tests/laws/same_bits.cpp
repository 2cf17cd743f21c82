// needs: openmp
// needs: threads
//
// Law 8: the same bits whatever the batch a row stands in, the number of threads, the workspace and the run.

#include <attend/attend.hpp>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <cstring>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_same_bits {
namespace {

const Layout ragged{.queries = 9,
                    .keys = 12,
                    .d_q = 5,
                    .d_k = 5,
                    .d_v = 3,
                    .heads = 2,
                    .kv_heads = 1,
                    .query_offset = 1,
                    .sequences = {0, 3, 3, 5, 9},
                    .key_sequences = {0, 5, 7, 7, 12}};

template <class T>
Operands<T> of_sequence(const Operands<T>& x, std::size_t s) {
    const Index q = x.layout.sequences[s], k = x.layout.key_sequences[s];
    Operands<T> one = x;
    one.layout.queries = x.layout.sequences[s + 1] - q;
    one.layout.keys = x.layout.key_sequences[s + 1] - k;
    one.layout.sequences = one.layout.key_sequences = {};
    one.q = x.q.middleRows(q, one.layout.queries);
    one.k = x.k.middleRows(k, one.layout.keys);
    one.v = x.v.middleRows(k, one.layout.keys);
    one.dout = x.dout.middleRows(q, one.layout.queries);
    return one;
}

template <class A>
void check_sequences_are_calls(const A& attention) {
    const Operands<float> x = random_operands<float>(ragged, 1);
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    Gradients<float, A> total{.parameters = zero_gradient(attention)};
    for (std::size_t s = 0; s + 1 < ragged.sequences.size(); ++s) {
        CAPTURE(s);
        const Operands<float> one = of_sequence(x, s);
        const Index q = ragged.sequences[s], k = ragged.key_sequences[s], queries = one.layout.queries,
                    keys = one.layout.keys;
        const auto y_one = forward(attention, one);
        total.dq = {}, total.dk = {}, total.dv = {};
        add_gradients(attention, one, y_one, total);
        CHECK(same_bits(y.out.middleRows(q, queries), y_one.out));
        CHECK(same_bits(y.lse.middleRows(q, queries), y_one.lse));
        for (Index head = 0; head < ragged.heads; ++head) {
            const auto weights = y.weights.middleRows(head * ragged.queries + q, queries);
            CHECK(same_bits(weights.leftCols(keys), y_one.weights.middleRows(head * queries, queries)));
            CHECK((weights.rightCols(weights.cols() - keys).array() == 0).all());
        }
        CHECK(same_bits(d.dq.middleRows(q, queries), total.dq));
        CHECK(same_bits(d.dk.middleRows(k, keys), total.dk));
        CHECK(same_bits(d.dv.middleRows(k, keys), total.dv));
    }
    CHECK(same_bits(parameters_of(d.parameters), parameters_of(total.parameters)));
}

/// Runs its tasks from the last to the first.
struct BackwardsExecutor {
    Index concurrency() const { return 4; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        for (Index i = count; i-- > 0;) f(i);
    }
};

template <class A>
void check_executors_agree(const A& attention) {
    const Operands<float> x = random_operands<float>(ragged, 2);
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    const auto check = [&](const auto& executor) {
        CHECK(first_difference(forward(attention, x, executor), y) == "");
        CHECK(first_difference(backward(attention, x, executor), d) == "");
    };
    Eigen::ThreadPool pool(3);
    check(thread_pool(pool));
    check(BackwardsExecutor{});
#if defined(_OPENMP)
    for (const int threads : {1, 2, 3, 8}) check(openmp(threads));
#endif
}

// Few compositions serve all cases, since each takes long to compile.
const auto dot_with_modifiers = scaled_dot_product >> alibi(0.1) >> soft_cap(3.0) >> causal;
const auto cosine_with_sink = cosine(2.0) >> softmax_with_sink(0.3);
auto additive_with_sink(Index d) {
    return AdditiveAttention<float>(d, d, 4, 3) >> sliding_window(3) >> softmax_with_sink(0.3);
}

}  // namespace

TEST_CASE("sequences are calls of their own") {
    check_sequences_are_calls(dot_with_modifiers);
    check_sequences_are_calls(cosine_with_sink);
    check_sequences_are_calls(GeneralAttention<float>(5, 5, 2) >> sparsemax);
    check_sequences_are_calls(additive_with_sink(5));
}

TEST_CASE("a strided batch is a call a sequence") {
    const Layout sequence{.queries = 4, .keys = 6, .d_q = 5, .d_k = 5, .d_v = 3};
    const Operands<float> a = random_operands<float>(sequence, 3), b = random_operands<float>(sequence, 4);
    // As batch × head × row × column with gaps between the sequences, as foreign tensors have.
    RowMatrix<float> q(9, 5), k(13, 5), v(13, 3), out;
    q << a.q, Eigen::RowVectorXf::Zero(5), b.q;
    k << a.k, Eigen::RowVectorXf::Zero(5), b.k;
    v << a.v, Eigen::RowVectorXf::Zero(3), b.v;
    dot_with_modifiers(strided(q.data(), {2, 1, 4, 5}, {25, 0, 5, 1}), strided(k.data(), {2, 1, 6, 5}, {35, 0, 5, 1}),
                       strided(v.data(), {2, 1, 6, 3}, {21, 0, 3, 1}), out);
    CHECK(same_bits(out.topRows(4), forward(dot_with_modifiers, a).out));
    CHECK(same_bits(out.bottomRows(4), forward(dot_with_modifiers, b).out));
}

TEST_CASE("a row does not depend on what the rows beside it hold") {
    const Layout one_sequence{
        .queries = 37, .keys = 29, .d_q = 33, .d_k = 33, .d_v = 5};  // enough for blocked products
    const Operands<float> x = random_operands<float>(one_sequence, 5);
    const auto check = [&](const auto& attention) {
        const auto y = forward(attention, x);
        for (Index row = 0; row < one_sequence.queries; ++row) {
            CAPTURE(row);
            Operands<float> others = random_operands<float>(one_sequence, 100 + static_cast<unsigned>(row));
            if (row % 2 == 0) others.q *= 50.0F;  // of another order, too
            others.k = x.k;
            others.v = x.v;
            others.q.row(row) = x.q.row(row);
            const auto y_others = forward(attention, others);
            CHECK(same_bits(y_others.out.row(row), y.out.row(row)));
            CHECK(same_bits(y_others.lse.row(row), y.lse.row(row)));
        }
    };
    check(dot_product >> entmax15);
    check(dot_with_modifiers);
    check(cosine_with_sink);
    check(GeneralAttention<float>(33, 33, 2) >> sparsemax);
    check(additive_with_sink(33));
}

TEST_CASE("any executor and any number of threads give the same bits") {
    check_executors_agree(dot_with_modifiers);
    check_executors_agree(additive_with_sink(5));
}

TEST_CASE("what a workspace held before does not matter") {
    const Operands<float> x = random_operands<float>(ragged, 6);
    const auto y = forward(cosine_with_sink, x);
    Workspace workspace(std::size_t{1} << 16);
    for (const int garbage : {0, 0xff}) {
        std::memset(workspace.data(workspace.bytes()), garbage, workspace.bytes());
        RowMatrix<float> out;
        cosine_with_sink(x.query_heads(), x.key_heads(), x.value_heads(), out,
                         {.workspace = &workspace,
                          .query_offset = ragged.query_offset,
                          .sequences = sequences(ragged.sequences),
                          .key_sequences = sequences(ragged.key_sequences)});
        CHECK(same_bits(out, y.out));
    }
}

}  // namespace test_same_bits

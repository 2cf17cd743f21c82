// needs: openmp
// Fixed-size operands use no heap, and with a warm workspace no call does.

#include <support/allocations.hpp>

#include <algorithm>
#include <memory>
#include <vector>

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace {

using Queries = Eigen::Matrix<float, 4, 3>;
using Keys = Eigen::Matrix<float, 5, 3, Eigen::RowMajor>;
using Values = Eigen::Matrix<float, 5, 2>;
using Out = Eigen::Matrix<float, 4, 2>;

template <class A>
void check_fixed_sizes(const A& attention) {
    Random random(1);
    const Queries q = random_matrix<float>(random, 4, 3);
    const Keys k = random_matrix<float>(random, 5, 3);
    const Values v = random_matrix<float>(random, 5, 2);
    const Out dout = random_matrix<float>(random, 4, 2);
    A gradient = zero_gradient(attention);
    Out out;
    Eigen::Vector4f lse;
    Eigen::Matrix<float, 4, 5> weights;
    Queries dq = Queries::Zero();
    Keys dk = Keys::Zero();
    Values dv = Values::Zero();
    CHECK(allocations_of([&] { attention(q, k, v, out, {.lse = lse, .weights = weights}); }) == 0);
    CHECK(allocations_of([&] { attention(q, k, v, out, {.lse = lse}); }) == 0);
    CHECK(allocations_of([&] { attention.backward(q, k, v, out, lse, dout, dq, dk, dv, {.gradient = &gradient}); }) ==
          0);

    const Eigen::MatrixXf q_dynamic = q, k_dynamic = k, v_dynamic = v;
    CHECK(distance(out, attention(q_dynamic, k_dynamic, v_dynamic)) < 1e-6);
}

/// Checks that a call allocates nothing but the first time, when a workspace grows and threads start.
template <class F>
void check_once_warm(const F& call) {
    call();
    CHECK(allocations_of(call) == 0);
}

const attend::detail::ExecutorRef& threads() {
#if defined(_OPENMP)
    static const OpenMPExecutor team = openmp(2);
    static const attend::detail::ExecutorRef executor(team);
#else
    static const attend::detail::ExecutorRef executor(serial);
#endif
    return executor;
}

/// Two sequences, of 30 and 40 queries over 50 and 40 keys, 4 heads in 2 groups.
const Layout ragged{.queries = 70,
                    .keys = 90,
                    .d_q = 20,
                    .d_k = 20,
                    .d_v = 24,
                    .heads = 4,
                    .kv_heads = 2,
                    .sequences = {0, 30, 70},
                    .key_sequences = {0, 50, 90}};

/// The output alone, all outputs, and backward, on matrices of one storage order.
template <int order, class T, class A>
void check_calls(const A& attention, const Operands<T>& x, const Outputs<T>& y, attend::detail::ExecutorRef executor) {
    using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, order>;
    const Layout& n = x.layout;
    const Matrix q = x.q, k = x.k, v = x.v, dout = x.dout;
    Matrix out = y.out, dq = x.q, dk = x.k, dv = x.v;
    Eigen::Matrix<Compute<T>, Eigen::Dynamic, Eigen::Dynamic, order> lse = y.lse, weights = y.weights;
    A gradient = zero_gradient(attention);
    const Sequences query_sequences = sequences(n.sequences), key_sequences = sequences(n.key_sequences);
    const auto query_heads = heads(q, n.heads), key_heads = heads(k, n.kv_heads), value_heads = heads(v, n.kv_heads);
    Workspace workspace;
    check_once_warm([&] {
        attention(query_heads, key_heads, value_heads, out,
                  {.workspace = &workspace,
                   .executor = executor,
                   .sequences = query_sequences,
                   .key_sequences = key_sequences});
    });
    check_once_warm([&] {
        attention(query_heads, key_heads, value_heads, out,
                  {.workspace = &workspace,
                   .executor = executor,
                   .lse = lse,
                   .weights = weights,
                   .sequences = query_sequences,
                   .key_sequences = key_sequences});
    });
    check_once_warm([&] {
        attention.backward(query_heads, key_heads, value_heads, out, lse, dout, dq, dk, dv,
                           {.workspace = &workspace,
                            .executor = executor,
                            .gradient = &gradient,
                            .sequences = query_sequences,
                            .key_sequences = key_sequences});
    });
    const std::size_t bytes = workspace.bytes();
    CHECK(bytes > 0);
    attention(
        query_heads, key_heads, value_heads, out,
        {.workspace = &workspace, .executor = executor, .sequences = query_sequences, .key_sequences = key_sequences});
    CHECK(workspace.bytes() == bytes);
}

template <class T, class A>
void check_scalar(const A& attention) {
    CAPTURE(sizeof(T));
    const Operands<T> x = random_operands<T>(ragged, 2);
    const Outputs<T> y = forward(attention, x);
    check_calls<Eigen::RowMajor>(attention, x, y, serial);
    check_calls<Eigen::ColMajor>(attention, x, y, serial);
    check_calls<Eigen::RowMajor>(attention, x, y, threads());
}
/// Steps of self-attention over `rows` tokens, which stand in matrices of either storage order.
template <class T, class A>
void check_block(const MultiHeadAttention<T, A>& block, Index rows) {
    CAPTURE(sizeof(T), rows, block.shape().d_model);
    Random random(3);
    const RowMatrix<T> x = random_matrix<T>(random, rows, block.shape().d_model), dy = x;
    const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> x_columns = x;
    RowMatrix<T> y = x, dx = x;
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> y_columns = x;
    MultiHeadTape<T> tape;
    Workspace workspace;
    auto gradient = zero_gradient(block);
    const Sequences two = sequences({0, rows / 3, rows});
    for (const auto& executor : {attend::detail::ExecutorRef(serial), threads()}) {
        check_once_warm([&] { block.forward(x, y, {.workspace = &workspace, .executor = executor, .tape = &tape}); });
        check_once_warm([&] {
            block.forward(x_columns, y_columns,
                          {.workspace = &workspace, .executor = executor, .tape = &tape, .sequences = two});
        });
        check_once_warm([&] {
            block.backward(tape, dy, dx, {.workspace = &workspace, .executor = executor, .gradient = &gradient});
        });
    }
    if constexpr (!std::is_same_v<T, Compute<T>>) {
        MultiHeadAttention<Compute<T>, A> sums(block.shape(), block.attention);
        CHECK(allocations_of([&] { assign_parameters(sums, block); }) == 0);
        check_once_warm([&] { block.backward(tape, dy, dx, {.workspace = &workspace, .gradient = &sums}); });
    }
}
template <class T, class A>
void check_crossing_block(const MultiHeadAttention<T, A>& block, Index rows) {
    Random random(4);
    const RowMatrix<T> x = random_matrix<T>(random, rows, block.shape().d_model);
    const RowMatrix<T> memory = random_matrix<T>(random, 2 * rows, block.shape().d_memory);
    RowMatrix<T> y = x, dx = x, dmemory = memory;
    MultiHeadTape<T> tape;
    Workspace workspace;
    check_once_warm([&] { block.forward(x, memory, y, {.workspace = &workspace, .tape = &tape}); });
    check_once_warm([&] { block.backward(tape, x, dx, dmemory, {.workspace = &workspace}); });
}

template <class T>
void check_softmax(Index rows, Index columns) {
    CAPTURE(sizeof(T), rows, columns);
    Random random(5);
    const RowMatrix<T> x = random_matrix<T>(random, rows, columns);
    const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> x_columns = x;
    RowMatrix<T> p = x;
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> p_columns = x;
    for (const Along along : {Along::rows, Along::columns}) {
        CHECK(allocations_of([&] { softmax(x, p, along); }) == 0);
        CHECK(allocations_of([&] { softmax(x_columns, p_columns, along); }) == 0);
        CHECK(allocations_of([&] { log_softmax(x, p, along); }) == 0);
        CHECK(allocations_of([&] { log_softmax(x_columns, p_columns, along); }) == 0);
    }
}

}  // namespace

TEST_CASE("every way to the heap is counted") {
    void* p = nullptr;
    CHECK(allocations_of([&] { p = ::operator new(8); }) == 1);
    ::operator delete(p);
    CHECK(allocations_of([&] { p = ::operator new(64, std::align_val_t(64)); }) == 1);
    ::operator delete(p, std::align_val_t(64));
    CHECK(allocations_of([&] { p = ::operator new[](8, std::nothrow); }) == 1);
    ::operator delete[](p);
#if defined(__GLIBC__)
    const auto counted = [&](auto allocate) {
        const int count = allocations_of([&] { p = allocate(); });
        std::free(p);
        return count;
    };
    CHECK(counted([] { return std::malloc(8); }) == 1);
    CHECK(counted([] { return std::calloc(8, 8); }) == 1);
    CHECK(counted([] { return std::realloc(nullptr, 8); }) == 1);
    CHECK(counted([] { return std::aligned_alloc(64, 64); }) == 1);
    CHECK(counted([&] { return posix_memalign(&p, 64, 64) == 0 ? p : nullptr; }) == 1);
    Eigen::MatrixXf x;
    CHECK(allocations_of([&] { x.setZero(5, 5); }) == 1);
#endif
}

TEST_CASE("fixed sizes use no heap") {
    check_fixed_sizes(dot_product);
    check_fixed_sizes(scaled_dot_product >> alibi(0.2) >> soft_cap(3.0) >> (causal & sliding_window(3)) >>
                      softmax_with_sink(0.2));
    check_fixed_sizes(cosine(2.0) >> prefix(4) >> sparsemax);
    check_fixed_sizes(GeneralAttention<float>(3, 3, 2) >> entmax15);
    check_fixed_sizes(AdditiveAttention<float>(3, 3, 4, 3) >> top_k(2));
}

TEST_CASE("the result of fixed sizes is of fixed size") {
    const Eigen::Matrix3f x = Eigen::Matrix3f::Identity();
    STATIC_REQUIRE(std::is_same_v<decltype(scaled_dot_product(x, x, x)), Eigen::Matrix3f>);
    Eigen::Matrix3f y;
    CHECK(allocations_of([&] { y = scaled_dot_product(x, x, x); }) == 0);
    CHECK(distance(y.rowwise().sum(), Eigen::Vector3f::Ones()) < 1e-6);  // weights of an identity's rows
}

TEST_CASE("with a warm workspace no call uses the heap, whatever it is composed of") {
    Random random(6);
    const Eigen::MatrixXd pairs = random_matrix<double>(random, 40, 50), blocks = random_matrix<double>(random, 5, 7);
    // Every part with floats, which a scalar of its own does not change; double and 16 bits, which are converted on the
    // way, where keys are mapped and where they are not.
    check_scalar<float>(scaled_dot_product);
    check_scalar<double>(scaled_dot_product);
    check_scalar<float>(dot_product >> scale(0.3) >> bias(pairs) >> dense_mask((pairs.array() > -0.5).matrix()) >>
                        softmax);
    const auto many_parts = scaled_dot_product >> alibi(alibi_slopes(4)) >> soft_cap(5.0) >>
                            (causal & sliding_window(9)) >> softmax_with_sink(0.5);
    check_scalar<float>(many_parts);
    check_scalar<Eigen::half>(many_parts);
    check_scalar<float>(cosine(2.0) >> relative_bias(Eigen::MatrixXd(random_matrix<double>(random, 32, 4))) >>
                        lengths({50, 30}) >> sparsemax);
    check_scalar<float>(GeneralAttention<float>(20, 20, 2) >> adaptive_span(20.0, 8.0) >> documents({0, 12, 33}) >>
                        entmax15);
    const auto additive = AdditiveAttention<float>(20, 20, 16, 3) >> prefix(20) >> top_k(5);
    check_scalar<float>(additive);
    check_scalar<Eigen::half>(additive);
    check_scalar<double>(AdditiveAttention<double>(20, 20, 16, 3));
    check_scalar<float>(RmsNormAttention<float>(20) >> scale(0.5) >> prefix(20));
    check_scalar<float>(
        score([](auto q, auto k) { return -(q - k) * (q - k); }) >>
        modifier([](auto s, auto p) { return s - 0.1f * tanh(decltype(s)(p.query - p.key)); }) >>
        (mask([](Position p) { return p.key % 3 != 1; }) | ~block_sparse((blocks.array() > 0).matrix(), 8, 8)) >>
        sigmoid(-1.0));
}

TEST_CASE("with a warm workspace no call over a long row, split between threads, uses the heap") {
    const Operands<float> x = random_operands<float>({.queries = 1, .keys = 5000, .d_q = 16, .d_k = 16, .d_v = 16}, 7);
    RowMatrix<float> out = x.dout;
    Workspace workspace;
    for (const auto& executor : {attend::detail::ExecutorRef(serial), threads()}) {
        check_once_warm([&] {
            (scaled_dot_product >> alibi(0.1))(x.q, x.k, x.v, out, {.workspace = &workspace, .executor = executor});
        });
    }
}

TEST_CASE("a block with a tape and a workspace uses the heap once") {
    const auto attention = scaled_dot_product >> causal;
    using A = decltype(attention);
    for (const Index d_model : {64, 256, 512}) {
        for (const Index rows : {1, 64}) {
            check_block(MultiHeadAttention<float, A>({.d_model = d_model, .heads = 8, .kv_heads = 4}, attention, 1),
                        rows);
        }
    }
    check_block(MultiHeadAttention<float, A>({.d_model = 512, .heads = 8, .kv_heads = 2}, attention, 1), 512);
    check_block(MultiHeadAttention<double, A>({.d_model = 384, .heads = 6, .rope = Rope{}}, attention, 1), 270);
    for (const OutputGate gate : {OutputGate::elementwise, OutputGate::headwise}) {
        const MultiHeadShape normed{.d_model = 64, .heads = 4, .kv_heads = 2, .qk_norm = RmsNorm{}, .gate = gate};
        check_block(MultiHeadAttention<float, A>(normed, attention, 1), 40);
        check_block(MultiHeadAttention<Eigen::bfloat16, A>(normed, attention, 1), 20);
    }
    check_block(MultiHeadAttention<Eigen::half, A>({.d_model = 64, .heads = 4, .bias = false}, attention, 1), 20);
    check_crossing_block(MultiHeadAttention<float, A>({.d_model = 320, .heads = 4, .d_memory = 200}, attention, 1), 90);
}

TEST_CASE("ten thousand steps of a stream use no heap once they are warm") {
    const auto attention = scaled_dot_product >> alibi(0.1) >> (causal & (sliding_window(60) | prefix(2)));
    using Block = MultiHeadAttention<float, std::remove_const_t<decltype(attention)>>;
    const Block block({.d_model = 64,
                       .heads = 4,
                       .kv_heads = 2,
                       .rope = Rope{},
                       .qk_norm = RmsNorm{},
                       .gate = OutputGate::elementwise},
                      attention, 1);
    const auto packed = block.pack();
    RingCache<float> ring({.heads = 2, .d_k = 16, .keys = 64, .sinks = 2});
    Random random(9);
    RowMatrix<float> x = random_matrix<float>(random, 3, 64), y(1, 64), many(3, 64);
    Block::Tape tape;
    Workspace workspace;
    const auto run = [&] {
        for (Index i = 0; i < 5000; ++i) {
            block.step(x.row(i % 3), ring, y, {.workspace = &workspace, .tape = &tape});
            block.step(x.row(i % 3), ring, y, {.workspace = &workspace, .tape = &tape, .packed = &packed});
            if (i % 100 == 0) block.step(x, ring, many, {.workspace = &workspace, .tape = &tape});
        }
    };
    check_once_warm(run);
    CHECK(y.allFinite());
}

TEST_CASE("a cache that grows past a chunk of keys uses no heap if its workspace was made for its capacity") {
    const auto attention = scaled_dot_product >> causal;
    const MultiHeadAttention<float, std::remove_const_t<decltype(attention)>> block({.d_model = 32, .heads = 4},
                                                                                    attention, 1);
    constexpr Index capacity = 2200;
    KvCache<float> cache({.heads = 4, .d_k = 8, .capacity = capacity});
    Workspace workspace(attention.workspace_bytes(
        {.heads = 4, .kv_heads = 4, .queries = 1, .keys = capacity, .d_q = 8, .d_k = 8, .d_v = 8}));
    Random random(9);
    const RowMatrix<float> x = random_matrix<float>(random, 1, 32);
    RowMatrix<float> y(1, 32);
    MultiHeadTape<float> tape;
    const auto step = [&] { block.step(x, cache, y, {.workspace = &workspace, .tape = &tape}); };
    step();
    CHECK(allocations_of([&] {
              for (Index i = 1; i < capacity; ++i) step();
          }) == 0);
}

TEST_CASE("states that merge use no heap") {
    Random random(10);
    AttentionState<float> state(5, 4, 6), other = state;
    other.output = random_matrix<float>(random, 5, 24);
    other.lse = random_matrix<float>(random, 5, 4);
    const Eigen::VectorXd sinks = Eigen::VectorXd::Ones(4);
    CHECK(allocations_of([&] {
              state.merge(other);
              state.merge(other);
              state.add_sink(0.5);
              state.add_sink(sinks);
              state.clear();
          }) == 0);
}

TEST_CASE("a prefix that many sequences share uses no heap once it is warm") {
    Random random(11);
    KvCache<float> prefix({.heads = 2, .d_k = 8, .capacity = 1500}),
        suffixes({.heads = 2, .d_k = 8, .capacity = 40, .sequences = 3});
    prefix.append(random_matrix<float>(random, 1500, 16), random_matrix<float>(random, 1500, 16));
    const RowMatrix<float> q = random_matrix<float>(random, 3, 32), k = random_matrix<float>(random, 1, 16);
    const auto attention = scaled_dot_product >> alibi(0.1) >> causal;
    SharedPrefix<float> shared;
    Workspace workspace(attention.workspace_bytes(
        {.sequences = 3, .heads = 4, .kv_heads = 2, .queries = 3, .keys = 1500, .d_q = 8, .d_k = 8, .d_v = 8}));
    RowMatrix<float> y(3, 32), lse(3, 4);
    const auto step = [&] {
        for (Index s = 0; s < 3; ++s) suffixes.append(k, k, s);
        shared(attention, heads(q, 4), prefix, suffixes, y, {.workspace = &workspace, .lse = lse});
    };
    step();
    CHECK(allocations_of([&] {
              for (Index i = 0; i < 30; ++i) step();
          }) == 0);
}

TEST_CASE("a decoder with a history uses no heap for answers no longer than those before") {
    Random random(12);
    const auto attention = LocationSensitiveAttention<float>(
                               LocationScore<float>({.d_q = 6, .d_k = 8, .hidden = 5, .filters = 3, .radius = 2}, 1)) >>
                           lengths({40, 30});
    const RowMatrix<float> k = random_matrix<float>(random, 90, 8), v = random_matrix<float>(random, 90, 7),
                           q = random_matrix<float>(random, 2, 6), dout = random_matrix<float>(random, 2, 7),
                           dweights = random_matrix<float>(random, 2, 50);
    RowMatrix<float> out(2, 7), dq(2, 6), dk(90, 8), dv(90, 7), weights(2, 50);
    auto gradient = zero_gradient(attention);
    for (const auto& executor : {attend::detail::ExecutorRef(serial), threads()}) {
        Workspace workspace;
        LocationDecoder decoder(attention, k, v, sequences({0, 40, 90}));
        check_once_warm([&] {
            for (Index i = 0; i < 5; ++i)
                decoder.step(q, out, {.workspace = &workspace, .executor = executor, .weights = weights});
            for (Index i = 0; i < 5; ++i)
                decoder.backward(dout, dq, {.workspace = &workspace, .executor = executor, .dweights = dweights});
            decoder.add_gradients(dk, dv, &gradient);
            decoder.restart();
        });
    }
}

TEST_CASE("softmax into given memory uses no heap") {
    for (const Index columns : {1, 100, 8192}) {
        check_softmax<float>(40, columns);
        check_softmax<double>(40, columns);
        check_softmax<Eigen::half>(40, columns);
        check_softmax<Eigen::bfloat16>(40, columns);
    }
}

TEST_CASE("rotary embedding uses no heap") {
    Random random(8);
    RowMatrix<float> x = random_matrix<float>(random, 30, 64);
    const RowMatrix<float> angles = random_matrix<float>(random, 30, 8);
    CHECK(allocations_of([&] { Rope{}(heads(x, 4), 5); }) == 0);
    CHECK(allocations_of([&] { Rope{.layout = RopeLayout::interleaved, .width = 8}.inverse(heads(x, 4)); }) == 0);
    CHECK(allocations_of([&] { rotate(heads(x, 4), angles, angles, RopeLayout::half_split); }) == 0);
}

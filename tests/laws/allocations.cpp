// Fixed-size operands use no heap, and with a warm workspace no call does.

#include <support/allocations.hpp>

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

template <class T, class A>
void check_warm_workspace(const A& attention) {
    const Layout layout{.queries = 70,
                        .keys = 90,
                        .d_q = 20,
                        .d_k = 20,
                        .d_v = 24,
                        .heads = 4,
                        .kv_heads = 2,
                        .sequences = {0, 30, 70},
                        .key_sequences = {0, 50, 90}};
    const Operands<T> x = random_operands<T>(layout, 2);
    const Sequences q_sequences = sequences(layout.sequences), k_sequences = sequences(layout.key_sequences);
    Outputs<T> y = forward(attention, x);
    Gradients<T, A> d = backward(attention, x);
    Workspace workspace;
    const auto run = [&] {
        attention(x.query_heads(), x.key_heads(), x.value_heads(), y.out,
                  {.workspace = &workspace, .sequences = q_sequences, .key_sequences = k_sequences});
        attention(x.query_heads(), x.key_heads(), x.value_heads(), y.out,
                  {.workspace = &workspace,
                   .lse = y.lse,
                   .weights = y.weights,
                   .sequences = q_sequences,
                   .key_sequences = k_sequences});
        attention.backward(x.query_heads(), x.key_heads(), x.value_heads(), heads(y.out, 4), y.lse, heads(x.dout, 4),
                           d.dq, d.dk, d.dv,
                           {.workspace = &workspace,
                            .gradient = &d.parameters,
                            .sequences = q_sequences,
                            .key_sequences = k_sequences});
    };
    run();
    const std::size_t bytes = workspace.bytes();
    CHECK(allocations_of(run) == 0);
    CHECK(workspace.bytes() == bytes);
}

}  // namespace

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

TEST_CASE("with a warm workspace no call uses the heap") {
    check_warm_workspace<float>(scaled_dot_product >> alibi(alibi_slopes(4)) >> causal);
    check_warm_workspace<float>(cosine(2.0) >> sigmoid(-1.0));
    check_warm_workspace<float>(GeneralAttention<float>(20, 20, 2) >> sparsemax);
    check_warm_workspace<float>(AdditiveAttention<float>(20, 20, 16, 3));
    check_warm_workspace<Eigen::half>(scaled_dot_product >> causal);
    check_warm_workspace<Eigen::half>(AdditiveAttention<float>(20, 20, 16, 3));
}

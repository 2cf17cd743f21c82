// Calls of recurrent mixers, alone and in a block, use no heap once their workspace has served one.

#include <support/allocations.hpp>

#include <attend/layer/multi_head.hpp>
#include <attend/mixer/linear_attention.hpp>
#include <attend/mixer/recurrent.hpp>

#include <mixer/gated_memory.hpp>
#include <mixer/running_mean.hpp>
#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_allocations {
namespace {

template <class F>
void check_once_warm(const F& call) {
    call();
    CHECK(allocations_of(call) == 0);
}

template <class M>
void check_calls(const M& mixer) {
    Random random(1);
    const Index width = mixer.key_width(16);
    const auto x = random_matrix<float>(random, 500, 4 * 16), dout = x,
               k = random_matrix<float>(random, 500, 4 * width);
    RowMatrix<float> out = x, dq = x, dk = k, dv = x;
    const RowMatrix<float> lse;
    const Sequences cut = sequences({0, 100, 500});
    Workspace workspace;
    M gradient = zero_gradient(mixer);
    check_once_warm(
        [&] { mixer(heads(x, 4), heads(k, 4), heads(x, 4), out, {.workspace = &workspace, .sequences = cut}); });
    check_once_warm([&] {
        mixer.backward(heads(x, 4), heads(k, 4), heads(x, 4), heads(out, 4), lse, heads(dout, 4), dq, dk, dv,
                       {.workspace = &workspace, .gradient = &gradient, .sequences = cut});
    });
    const std::size_t bytes = workspace.bytes();
    const Shape shape{
        .sequences = 2, .heads = 4, .kv_heads = 4, .queries = 400, .keys = 400, .d_q = 16, .d_k = width, .d_v = 16};
    CHECK(bytes == mixer.template workspace_bytes<float>(shape, 1, Pass::backward));

    const MultiHeadAttention<float, M> block({.d_model = 64, .heads = 4}, mixer, 1);
    RowMatrix<float> y = x, dx = x;
    MultiHeadTape<float> tape;
    auto sums = zero_gradient(block);
    check_once_warm([&] { block.forward(x, y, {.workspace = &workspace, .tape = &tape, .sequences = cut}); });
    check_once_warm([&] { block.backward(tape, dout, dx, {.workspace = &workspace, .gradient = &sums}); });

    auto cache = block.cache(2);
    RowMatrix<float> last(2, 64), next = x.topRows(2);
    check_once_warm([&] { block.prefill(x, cache, last, {.workspace = &workspace, .tape = &tape, .sequences = cut}); });
    check_once_warm([&] { block.step(next, cache, last, {.workspace = &workspace, .tape = &tape}); });
}

}  // namespace

TEST_CASE("calls of a recurrent mixer use no heap once warm") {
    check_calls(recurrent(RunningMean{}));
    check_calls(recurrent(GatedMemory{.gate = Eigen::VectorXd::Constant(16, 0.2)}));
    check_calls(gated_delta_rule(Decay::feature, KeyGates::logits, FeatureMap::unit));
}

}  // namespace test_allocations

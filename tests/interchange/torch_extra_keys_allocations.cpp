// A block with PyTorch's keys besides uses no heap once its workspace and tape have served such a call.

#include <support/allocations.hpp>

#include <attend/interchange/torch_extra_keys.hpp>
#include <attend/interchange/torch_masks.hpp>
#include <attend/layer/multi_head.hpp>
#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_torch_extra_keys_allocations {
namespace {

template <class T>
void check_block() {
    Random random(1);
    const RowMatrix<T> x = random_matrix<T>(random, 60, 32), dy = x;
    const RowMatrix<bool> absent = RowMatrix<bool>::Constant(2, 40, false);
    const auto attention = scaled_dot_product >> torch_key_padding_mask(absent);
    const auto block = multi_head<T>({.d_model = 32, .heads = 4},
                                     torch_extra_keys<Compute<T>>(attention, {.bias_kv = 32, .zero_attn = true}));
    auto gradient = zero_gradient(block);
    RowMatrix<T> y = x, dx = x;
    const Sequences cut = sequences({0, 20, 60});
    Workspace workspace;
    MultiHeadTape<T> tape;
    const auto step = [&] {
        block.forward(x, y, {.workspace = &workspace, .tape = &tape, .sequences = cut});
        block.backward(tape, dy, dx, {.workspace = &workspace, .gradient = &gradient});
    };
    step();
    CHECK(allocations_of(step) == 0);
}

}  // namespace

TEST_CASE("a block with keys besides uses no heap once warm") {
    check_block<float>();
    check_block<double>();
    check_block<Eigen::half>();
}

}  // namespace test_torch_extra_keys_allocations

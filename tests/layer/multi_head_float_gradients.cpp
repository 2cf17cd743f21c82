// A block of 16-bit scalars whose parameters' gradients are summed up in float: the exact products of what its tape
// holds, to the rounding of float, however many calls add to them.

#include <attend/attend.hpp>

#include <cmath>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_float_gradients {
namespace {

using Exact = RowMatrix<double>;

template <class X>
Exact exact(const X& x) {
    return x.template cast<double>();
}

/// `got` is Σ aᵀ b to sums in float of that many terms: nothing of it has been rounded to 16 bits.
bool is_product(const Exact& got, const Exact& a, const Exact& b) {
    const Exact sum = a.transpose().lazyProduct(b), magnitude = a.cwiseAbs().transpose().lazyProduct(b.cwiseAbs());
    const double unit = static_cast<double>(a.rows()) * 0x1p-24;
    return got.rows() == sum.rows() && got.cols() == sum.cols() &&
           ((got - sum).array().abs() <= unit * magnitude.array()).all();
}

template <class T>
RowMatrix<T> numbers(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return (random_matrix<double>(random, rows, columns).array() + 0.5).matrix().template cast<T>();
}

/// Of every parameter, name and numbers.
template <class Value>
std::vector<std::pair<std::string, Exact>> listed(const Value& value) {
    std::vector<std::pair<std::string, Exact>> all;
    visit_parameters(value, [&](std::string_view name, const auto& matrix) { all.emplace_back(name, exact(matrix)); });
    return all;
}

}  // namespace

TEMPLATE_TEST_CASE("gradients in float are the products of what the tape holds, unrounded", "", Eigen::half,
                   Eigen::bfloat16) {
    using T = TestType;
    constexpr Index rows = 203, keys = 131, width = 60, width_of_memory = 50;
    const MultiHeadShape shape{.d_model = width,
                               .heads = 6,
                               .kv_heads = 2,
                               .d_memory = width_of_memory,
                               .rope = Rope{},
                               .gate = OutputGate::elementwise};
    const MultiHeadAttention<T> block(shape, {}, 1);
    MultiHeadAttention<float> gradient(shape, {}, 1);
    gradient = zero_gradient(gradient);
    const RowMatrix<T> x = numbers<T>(rows, width, 2), memory = numbers<T>(keys, width_of_memory, 3),
                       dy = numbers<T>(rows, width, 4);
    MultiHeadTape<T> tape;
    RowMatrix<T> y, dx, dmemory;
    block.forward(x, memory, y, {.tape = &tape});
    block.backward(tape, dy, dx, dmemory, {.gradient = &gradient});

    const Exact in = exact(x), from = exact(memory), dk = exact(tape.dk), dv = exact(tape.dv), dq = exact(tape.dq),
                dgates = exact(tape.dgates), out = exact(dy), rows_of_1 = Exact::Ones(rows, 1),
                keys_of_1 = Exact::Ones(keys, 1);
    CHECK(is_product(exact(gradient.query_weight), in, dq));
    CHECK(is_product(exact(gradient.key_weight), from, dk));
    CHECK(is_product(exact(gradient.value_weight), from, dv));
    CHECK(is_product(exact(gradient.gate_weight), in, dgates));
    CHECK(is_product(exact(gradient.output_weight), exact(tape.gated), out));
    CHECK(is_product(exact(gradient.query_bias.transpose()), rows_of_1, dq));
    CHECK(is_product(exact(gradient.key_bias.transpose()), keys_of_1, dk));
    CHECK(is_product(exact(gradient.value_bias.transpose()), keys_of_1, dv));
    CHECK(is_product(exact(gradient.gate_bias.transpose()), rows_of_1, dgates));
    CHECK(is_product(exact(gradient.output_bias.transpose()), rows_of_1, out));

    // The gradients of inputs are the same bits, and those in 16 bits are these, rounded once.
    RowMatrix<T> other_dx, other_dmemory;
    auto rounded = zero_gradient(block);
    block.backward(tape, dy, other_dx, other_dmemory, {.gradient = &rounded});
    CHECK(exact(other_dx) == exact(dx));
    CHECK(exact(other_dmemory) == exact(dmemory));
    auto of_float = zero_gradient(block);
    assign_parameters(of_float, gradient);
    CHECK(listed(of_float) == listed(rounded));
}

TEST_CASE("a sum in float goes on growing where one in 16 bits stands still") {
    const MultiHeadAttention<Eigen::bfloat16> block({.d_model = 4, .heads = 1}, {}, 1);
    const RowMatrix<Eigen::bfloat16> ones = RowMatrix<Eigen::bfloat16>::Ones(1, 4);
    MultiHeadTape<Eigen::bfloat16> tape;
    RowMatrix<Eigen::bfloat16> y, dx;
    MultiHeadAttention<float> gradient = zero_gradient(MultiHeadAttention<float>(block.shape()));
    auto rounded = zero_gradient(block);
    block.forward(ones, y, {.tape = &tape});
    for (int i = 0; i < 1000; ++i) {
        block.backward(tape, ones, dx, {.gradient = &gradient});
        block.backward(tape, ones, dx, {.gradient = &rounded});
    }
    CHECK((gradient.output_bias.array() == 1000).all());
    CHECK((rounded.output_bias.cast<double>().array() == 256).all());
}

TEST_CASE("gains of a norm, too") {
    const MultiHeadShape shape{.d_model = 24, .heads = 2, .qk_norm = RmsNorm{}};
    const MultiHeadAttention<Eigen::bfloat16> block(shape, {}, 1);
    const RowMatrix<Eigen::bfloat16> x = numbers<Eigen::bfloat16>(40, 24, 2), dy = numbers<Eigen::bfloat16>(40, 24, 3);
    MultiHeadTape<Eigen::bfloat16> tape;
    RowMatrix<Eigen::bfloat16> y, dx;
    MultiHeadAttention<float> gradient = zero_gradient(MultiHeadAttention<float>(shape));
    auto rounded = zero_gradient(block), of_float = rounded;
    block.forward(x, y, {.tape = &tape});
    block.backward(tape, dy, dx, {.gradient = &rounded});
    block.backward(tape, dy, dx, {.gradient = &gradient});
    assign_parameters(of_float, gradient);
    CHECK(listed(of_float) == listed(rounded));
    CHECK(gradient.q_norm != rounded.q_norm.cast<float>());
}

TEMPLATE_TEST_CASE("parameters of 16 bits in the attention have gradients in float as well", "", Eigen::half,
                   Eigen::bfloat16) {
    using T = TestType;
    const auto attention = GeneralAttention<T>(12, 12, 3) >> alibi(0.25) >> causal;
    const MultiHeadShape shape{.d_model = 24, .heads = 2};
    const auto block = multi_head<T>(shape, attention, 1);
    using Form = ComputeForm<std::remove_const_t<decltype(block)>>;
    Form gradient(shape, attention.compute_form());
    gradient = zero_gradient(gradient);
    auto rounded = zero_gradient(block), of_float = rounded;
    const RowMatrix<T> x = numbers<T>(40, 24, 2), dy = numbers<T>(40, 24, 3);
    MultiHeadTape<T> tape;
    RowMatrix<T> y, dx;
    block.forward(x, y, {.tape = &tape});
    block.backward(tape, dy, dx, {.gradient = &rounded});
    block.backward(tape, dy, dx, {.gradient = &gradient});
    assign_parameters(of_float, gradient);
    CHECK(listed(of_float) == listed(rounded));
    CHECK(gradient.attention.weight != rounded.attention.weight.template cast<float>());
    CHECK(gradient.attention.weight.norm() > 0);

    // Of the attention by itself.
    Eigen::Matrix<float, Eigen::Dynamic, 1> lse;
    RowMatrix<T> out, dq, dk, dv;
    const RowMatrix<T> q = numbers<T>(30, 12, 4), dout = numbers<T>(30, 12, 5);
    attention(q, q, q, out, {.lse = lse});
    auto sums = zero_gradient(attention.compute_form());
    auto once = zero_gradient(attention), of_sums = once;
    attention.backward(q, q, q, out, lse, dout, dq, dk, dv, {.gradient = &once});
    attention.backward(q, q, q, out, lse, dout, dq, dk, dv, {.gradient = &sums});
    assign_parameters(of_sums, sums);
    CHECK(listed(of_sums) == listed(once));
}

TEST_CASE("a gradient in float that does not fit is refused") {
    const MultiHeadAttention<Eigen::bfloat16> block({.d_model = 4, .heads = 1}, {}, 1);
    const RowMatrix<Eigen::bfloat16> ones = RowMatrix<Eigen::bfloat16>::Ones(3, 4);
    MultiHeadTape<Eigen::bfloat16> tape;
    RowMatrix<Eigen::bfloat16> y, dx = RowMatrix<Eigen::bfloat16>::Ones(3, 4);
    block.forward(ones, y, {.tape = &tape});
    MultiHeadAttention<float> other({.d_model = 6, .heads = 1});
    CHECK(refusal([&] { block.backward(tape, ones, dx, {.gradient = &other}); }) ==
          "gradient: query_weight (6x6) must be 4x4, as the parameter is: make one by zero_gradient");
    MultiHeadAttention<float> without({.d_model = 4, .heads = 1, .bias = false});
    CHECK(refusal([&] { block.backward(tape, ones, dx, {.gradient = &without}); }) ==
          "gradient: has 4 parameters for 8: make one by zero_gradient");
    CHECK((dx.cast<float>().array() == 1).all());
}

}  // namespace test_multi_head_float_gradients

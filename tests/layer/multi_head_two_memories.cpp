// Keys from one memory and values from another, of any widths: what they give, their gradients, and PyTorch's modules.

#include <attend/attend.hpp>

#include <filesystem>

#include <golden/golden.hpp>
#include <support/block_cases.hpp>
#include <support/block_gradients.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_two_memories {
namespace {

using Matrix = RowMatrix<double>;

Matrix rows_of(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<double>(random, rows, columns);
}

const MultiHeadShape wide{.d_model = 6, .heads = 4, .kv_heads = 2, .d_head = 3, .d_memory = 5, .d_value_memory = 7};

/// The gradients of both memories, of x and of all parameters, by differences.
template <class Block>
void check_gradients_of_both(Block block, const std::vector<Index>& offsets, const std::vector<Index>& key_offsets,
                             Index query_offset) {
    Random random(3);
    visit_parameters(block, [&](std::string_view, auto& matrix) {
        for (double& value : matrix.reshaped()) value += random_number(random, 0.3);
    });
    Matrix x = rows_of(offsets.back(), 6, 4), keys_from = rows_of(key_offsets.back(), 5, 5),
           values_from = rows_of(key_offsets.back(), 7, 6);
    const Matrix dy = rows_of(offsets.back(), 6, 7);
    MultiHeadTape<double> tape;
    const auto forward = [&](MultiHeadTape<double>* record) {
        Outputs<double> y;
        block.forward(x, keys_from, values_from, y.out,
                      {.tape = record,
                       .weights = y.weights,
                       .query_offset = query_offset,
                       .sequences = sequences(offsets),
                       .key_sequences = sequences(key_offsets)});
        return y;
    };
    forward(&tape);
    Matrix dx, dkeys_from, dvalues_from;
    Block gradient = zero_gradient(block);
    block.backward(tape, dy, dx, dkeys_from, dvalues_from, {.gradient = &gradient});

    const Loss loss([&] { return forward(nullptr); }, dy);
    check_slopes(loss, span_of(x), span_of(dx), "dx");
    check_slopes(loss, span_of(keys_from), span_of(dkeys_from), "dkeys_from");
    check_slopes(loss, span_of(values_from), span_of(dvalues_from), "dvalues_from");
    std::vector<std::span<double>> gradients;
    visit_parameters(gradient, [&](std::string_view, auto& matrix) { gradients.push_back(span_of(matrix)); });
    std::size_t i = 0;
    visit_parameters(
        block, [&](std::string_view name, auto& matrix) { check_slopes(loss, span_of(matrix), gradients[i++], name); });

    // Gradients are added, and a dy that is an expression is evaluated.
    block.backward(tape, 2 * dy, dx, dkeys_from, dvalues_from);
    Matrix dx_once, dkeys_once, dvalues_once;
    block.backward(tape, dy, dx_once, dkeys_once, dvalues_once);
    CHECK(distance(dx, 3 * dx_once) <= 1e-13 * magnitude(dx));
    CHECK(distance(dkeys_from, 3 * dkeys_once) <= 1e-13 * magnitude(dkeys_from));
    CHECK(distance(dvalues_from, 3 * dvalues_once) <= 1e-13 * magnitude(dvalues_from));
}

/// Of `nn.MultiheadAttention`, whose masks say what is absent.
auto masked_by(const Case& c) {
    const Index keys = c.in("key").shape[1];
    const Eigen::MatrixXd pairs = c.has_in("attn_mask") ? Eigen::MatrixXd(c.in("attn_mask").matrix<double>())
                                                        : Eigen::MatrixXd::Zero(c.in("query").shape[1], keys);
    const Eigen::MatrixXd padding = c.has_in("key_padding_mask")
                                        ? Eigen::MatrixXd(c.in("key_padding_mask").matrix<double>())
                                        : Eigen::MatrixXd::Zero(c.in("query").shape[0], keys);
    return scaled_dot_product >>
           mask([=](Position p) { return pairs(p.query, p.key) == 0 && padding(p.sequence, p.key) == 0; });
}
Matrix matrix_or_empty(const Case& c, const std::string& name) {
    return c.has_in(name) ? c.in(name).matrix<double>() : Matrix();
}
Sequences batch_of(const Tensor& tensor) {
    std::vector<Index> offsets{0};
    for (Index s = 0; s < tensor.shape[0]; ++s) offsets.push_back(offsets.back() + tensor.shape[1]);
    return sequences(offsets);
}

void check_torch(const Case& c) {
    const bool bias = c.has_in("in_proj_bias"), apart = c.has_in("q_proj_weight");
    auto block = multi_head<double>({.d_model = c.in("query").columns(),
                                     .heads = c.integer("heads"),
                                     .d_memory = c.in("key").columns(),
                                     .d_value_memory = c.in("value").columns(),
                                     .bias = bias},
                                    masked_by(c));
    const Matrix in_bias = matrix_or_empty(c, "in_proj_bias"), out_bias = matrix_or_empty(c, "out_proj_bias"),
                 out_weight = c.in("out_proj_weight").matrix<double>();
    if (apart) {
        block.import_torch(c.in("q_proj_weight").matrix<double>(), c.in("k_proj_weight").matrix<double>(),
                           c.in("v_proj_weight").matrix<double>(), in_bias, out_weight, out_bias);
    } else {
        block.import_torch(c.in("in_proj_weight").matrix<double>(), in_bias, out_weight, out_bias);
    }
    const auto cut = batch_of(c.in("query")), key_cut = batch_of(c.in("key"));
    Matrix y, weights, dquery, dkey, dvalue;
    MultiHeadTape<double> tape;
    auto gradient = zero_gradient(block);
    block.forward(c.in("query").matrix<double>(), c.in("key").matrix<double>(), c.in("value").matrix<double>(), y,
                  {.tape = &tape, .weights = weights, .sequences = cut, .key_sequences = key_cut});
    block.backward(tape, c.in("dout").matrix<double>(), dquery, dkey, dvalue, {.gradient = &gradient});

    Comparison comparison(c);
    Matrix average = Matrix::Zero(y.rows(), weights.cols());
    for (Index h = 0; h < block.shape().heads; ++h) average += weights.middleRows(h * y.rows(), y.rows());
    comparison.check("out", y);
    comparison.check("weights", Matrix(average / static_cast<double>(block.shape().heads)));
    comparison.check("dquery", dquery), comparison.check("dkey", dkey), comparison.check("dvalue", dvalue);
    const Matrix dq = gradient.query_weight.transpose(), dk = gradient.key_weight.transpose(),
                 dv = gradient.value_weight.transpose();
    if (apart) {
        comparison.check("dq_proj_weight", dq), comparison.check("dk_proj_weight", dk);
        comparison.check("dv_proj_weight", dv);
    } else {
        Matrix packed(3 * dq.rows(), dq.cols());
        packed << dq, dk, dv;
        comparison.check("din_proj_weight", packed);
    }
    comparison.check("dout_proj_weight", Matrix(gradient.output_weight.transpose()));
    if (bias) {
        Eigen::VectorXd packed(3 * dq.rows());
        packed << gradient.query_bias, gradient.key_bias, gradient.value_bias;
        comparison.check("din_proj_bias", packed);
        comparison.check("dout_proj_bias", gradient.output_bias);
    }
    comparison.finish();
}

}  // namespace

TEST_CASE("PyTorch's modules, of memories of their own widths and of packed weights: output and every gradient") {
    if (!has_block_cases()) return;
    for (const std::string name : {"mha_kdim_vdim", "mha_no_bias_masks", "mha_saved_f32"})
        check_torch(read_case(block_cases() / (name + ".txt")));
}

TEST_CASE("gradients of two memories, by differences") {
    auto turned = wide;
    turned.d_head = 4, turned.rope = Rope{.base = 20.0};
    auto plain = wide;
    plain.bias = false;
    check_gradients_of_both(block_of(wide, scaled_dot_product >> soft_cap(2.0)), {0, 3}, {0, 5}, 0);
    check_gradients_of_both(block_of(turned, scaled_dot_product >> alibi(0.3) >> causal), {0, 1, 1, 4}, {0, 3, 4, 8},
                            2);
    check_gradients_of_both(block_of(plain, AdditiveAttention<double>(3, 3, 4, 5)), {0, 2}, {0, 4}, 0);
}

TEST_CASE("two memories that are one give what one gives, to the bit") {
    const auto block = multi_head<float>({.d_model = 6, .heads = 2, .d_memory = 5}, scaled_dot_product, 1);
    Random random(1);
    const RowMatrix<float> x = random_matrix<float>(random, 3, 6), memory = random_matrix<float>(random, 11, 5);
    RowMatrix<float> dx, dmemory, dx_again, dkeys, dvalues, y;
    MultiHeadTape<float> tape;
    CHECK(same_bits(block(x, memory, memory), block(x, memory)));
    block.forward(x, memory, y, {.tape = &tape});
    block.backward(tape, x, dx, dmemory);
    block.forward(x, memory, memory, y, {.tape = &tape});
    block.backward(tape, x, dx_again, dkeys, dvalues);
    CHECK(same_bits(dx, dx_again));
    CHECK(distance(dkeys + dvalues, dmemory) <= 1e-6);
}

TEST_CASE("a prepared pair of memories gives the bits of the pair, and its gradients") {
    const auto block = block_of(wide, scaled_dot_product >> soft_cap(2.0));
    const Matrix keys_from = rows_of(9, 5, 1), values_from = rows_of(9, 7, 2);
    auto memory = block.prepare(keys_from, values_from);
    auto right = zero_gradient(block), found = right;
    Matrix dkeys, dvalues, dkeys_again, dvalues_again;
    MultiHeadTape<double> tape;
    for (std::uint64_t step = 0; step < 2; ++step) {
        const Matrix x = rows_of(4, 6, 10 + step), dy = rows_of(4, 6, 20 + step);
        Matrix y, again, dx, dx_again;
        block.forward(x, keys_from, values_from, y, {.tape = &tape});
        block.backward(tape, dy, dx, dkeys, dvalues, {.gradient = &right});
        block.forward(x, memory, again, {.tape = &tape});
        block.backward(tape, dy, dx_again, memory, {.gradient = &found});
        CHECK(same_bits(y, again));
        CHECK(same_bits(dx, dx_again));
    }
    CHECK(refusal([&] { block.add_gradients(memory, dkeys_again); }) ==
          "add_gradients: the memory was prepared from two memories: give the gradients of both, dkeys_from and "
          "dvalues_from");
    CHECK(refusal([&] { block.add_gradients(memory, dkeys_again, dkeys_again); }) ==
          "dkeys_from (0x0) aliases dvalues_from (0x0): give the call memory of its own to write to");
    block.add_gradients(memory, dkeys_again, dvalues_again, {.gradient = &found});
    CHECK(distance(dkeys, dkeys_again) <= 1e-13);
    CHECK(distance(dvalues, dvalues_again) <= 1e-13);
    CHECK(distance(right.value_weight, found.value_weight) <= 1e-12);
    CHECK(distance(right.key_weight, found.key_weight) <= 1e-12);
}

TEST_CASE("memories that do not fit are refused in words, before anything is written") {
    const auto block = block_of(wide, scaled_dot_product);
    const Matrix x = rows_of(3, 6, 1), keys = rows_of(4, 5, 2), values = rows_of(4, 7, 3);
    Matrix y, dx, dkeys, dvalues;
    const std::string both =
        "keys and values of this block come from memories of different widths, d_memory 5 and d_value_memory 7: give "
        "both, keys_from and values_from";
    CHECK(refusal([&] { block.forward(x, keys, y); }) == both);
    CHECK(refusal([&] { block.prepare(keys); }) == both);
    CHECK(refusal([&] { block.forward(x, y); }) == "self-attention needs d_memory (5) equal to d_model (6)");
    CHECK(refusal([&] {
              block_of({.d_model = 6, .heads = 2, .d_value_memory = 7}, scaled_dot_product).forward(x, y);
          }).starts_with("keys and values of this block come from memories of different widths"));
    CHECK(refusal([&] { block.forward(x, values, values, y); }) == "keys_from (4x7) must have 5 columns");
    CHECK(refusal([&] { block.forward(x, keys, keys, y); }) == "values_from (4x5) must have 7 columns");
    CHECK(refusal([&] { block.forward(x, keys, values.topRows(3), y); }) ==
          "keys_from (4x5) and values_from (3x7) must have one row each for every key");
    CHECK(y.size() == 0);
    MultiHeadTape<double> tape;
    block.forward(x, keys, values, y, {.tape = &tape});
    // Inputs are copied one after the other, to where others may stand.
    const Eigen::Map<Matrix> in_x(tape.x.data(), 3, 5), in_keys(tape.memory.data(), 2, 7);
    CHECK(refusal([&] { block.forward(x, in_x, values.topRows(3), y, {.tape = &tape}); }) ==
          "keys_from (3x5) is memory of the tape, which the call overwrites");
    CHECK(refusal([&] { block.forward(x, keys.topRows(2), in_keys, y, {.tape = &tape}); }) ==
          "values_from (2x7) is memory of the tape, which the call overwrites");
    CHECK(refusal([&] { block.backward(tape, y, dx); }) ==
          "backward: the tape holds a call with two memories: ask for the gradients of both, backward(tape, dy, dx, "
          "dkeys_from, dvalues_from)");
    Matrix wrong = Matrix::Ones(4, 5);
    CHECK(refusal([&] { block.backward(tape, y, dx, dkeys, wrong); }) ==
          "dvalues_from (4x5) must be 4x7, or empty to be resized");
    CHECK(refusal([&] { block.backward(tape, y, dx, wrong, dx); }) ==
          "dx (0x0) aliases dvalues_from (0x0): give the call memory of its own to write to");
    CHECK((dx.size() == 0 && dkeys.size() == 0 && (wrong.array() == 1).all()));
    block.backward(tape, y, dx, dkeys, dvalues);
    CHECK((dkeys.cols() == 5 && dvalues.cols() == 7));
    tape.value_memory.resize(4, 6);
    CHECK(refusal([&] { block.backward(tape, y, dx, dkeys, dvalues); }) ==
          "backward: the tape holds no call of this block: its value_memory (4x6) must be 4x7");
}

TEST_CASE("PyTorch's unpacked weights that do not fit are refused by name") {
    auto block = block_of({.d_model = 4, .heads = 2, .d_memory = 6, .d_value_memory = 3}, scaled_dot_product);
    const Matrix q = Matrix::Ones(4, 4), k = Matrix::Ones(4, 6), v = Matrix::Ones(4, 3), b = Matrix::Ones(12, 1);
    const Matrix before = block.query_weight;
    CHECK(refusal([&] { block.import_torch(q, q, v, b, q, b.topRows(4)); }) == "k_proj_weight (4x4) must be 4x6");
    CHECK(refusal([&] { block.import_torch(q, k, k, b, q, b.topRows(4)); }) == "v_proj_weight (4x6) must be 4x3");
    CHECK(refusal([&] { block.import_torch(k, k, v, b, q, b.topRows(4)); }) == "q_proj_weight (4x6) must be 4x4");
    CHECK(refusal([&] { block.import_torch(q, k, v, b, q, b); }) ==
          "in_proj_bias (12) and out_proj_bias (12) must hold 12 and 4 values");
    CHECK(same_bits(Matrix(block.query_weight), before));
    block.import_torch(q, k, v, b, q, b.topRows(4));
    CHECK((block.key_weight.rows() == 6 && (block.value_weight.array() == 1).all()));
}

TEST_CASE("multi_head deduces the block of an attention") {
    const auto attention = scaled_dot_product >> causal;
    const auto block = multi_head<double>({.d_model = 6, .heads = 2}, attention, 7);
    const MultiHeadAttention<double, std::remove_const_t<decltype(attention)>> same({.d_model = 6, .heads = 2},
                                                                                    attention, 7);
    STATIC_REQUIRE(std::is_same_v<decltype(block), decltype(same)>);
    const Matrix x = rows_of(5, 6, 1);
    CHECK(same_bits(block(x), same(x)));
    STATIC_REQUIRE(std::is_same_v<decltype(multi_head<float>({.d_model = 6})), MultiHeadAttention<float>>);
}

}  // namespace test_multi_head_two_memories

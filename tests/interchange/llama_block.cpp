// A Llama-style block, from a file under such names: the whole text, its gradients, and the same token by token.

#include <attend/attend.hpp>
#include <attend/interchange/llama_names.hpp>
#include <interchange/file_of_case.hpp>
#include <support/block_cases.hpp>

using namespace attend;
using namespace attend::test;

namespace test_llama_block {
namespace {

const CaseNames names_in_case = {{"model.layers.3.self_attn.q_proj.weight", "q_proj_weight"},
                                 {"model.layers.3.self_attn.k_proj.weight", "k_proj_weight"},
                                 {"model.layers.3.self_attn.v_proj.weight", "v_proj_weight"},
                                 {"model.layers.3.self_attn.o_proj.weight", "o_proj_weight"}};

void check_case(const Case& c) {
    INFO(c.name);
    const Index kv_heads = c.integer("kv_heads"), d_head = c.integer("d_head");
    auto block = multi_head<double>({.d_model = c.in("x").columns(),
                                     .heads = c.integer("heads"),
                                     .kv_heads = kv_heads,
                                     .d_head = d_head,
                                     .bias = false,
                                     .rope = Rope{.base = c.number("rope_base")}},
                                    scaled_dot_product >> causal);
    const TensorNames names = llama_names("model.layers.3.self_attn.");
    std::istringstream file(file_of_case(c, names_in_case));
    load_safetensors(file, block, names);

    Comparison comparison(c);
    const RowMatrix<double> x = c.in("x").matrix<double>();
    MultiHeadTape<double> tape;
    RowMatrix<double> y, dx;
    auto gradient = zero_gradient(block);
    block.forward(x, y, {.tape = &tape});
    block.backward(tape, c.in("dout").matrix<double>(), dx, {.gradient = &gradient});
    comparison.check("out", y);
    comparison.check("dx", dx);
    check_gradients_as_file(gradient, names, names_in_case, comparison);
    comparison.finish();

    KvCache<double> cache({.heads = kv_heads, .d_k = d_head, .capacity = x.rows()});
    RowMatrix<double> by_token(x.rows(), x.cols());
    for (Index i = 0; i < x.rows(); ++i) block.step(x.row(i), cache, by_token.middleRows(i, 1));
    comparison.check("out", by_token);
}

}  // namespace

TEST_CASE("a Llama-style block, from its file: output, gradients, and token by token") {
    for_each_block_case("llama_attention", 1, [](const Case& c, const auto&) { check_case(c); });
}

}  // namespace test_llama_block

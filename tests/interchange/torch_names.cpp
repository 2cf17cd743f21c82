#include <attend/interchange/torch_names.hpp>

#include <map>
#include <sstream>

#include <attend/interchange/safetensors.hpp>
#include <attend/interchange/torch_extra_keys.hpp>
#include <attend/layer/multi_head.hpp>
#include <attend/modifier/soft_cap.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_torch_names {
namespace {

using Shapes = std::map<std::string, std::vector<Index>>;

template <class Block>
Shapes shapes_of(const Block& block, const TensorNames& names) {
    std::stringstream bytes;
    save_safetensors(bytes, block, names);
    const Safetensors file(bytes);
    CHECK(file.metadata().at("format") == "pt");  // without which others' loaders refuse a file
    Shapes shapes;
    for (const auto& [name, info] : file.tensors()) shapes[name] = info.shape;
    return shapes;
}

}  // namespace

TEST_CASE("a block has the tensors that nn.MultiheadAttention has, of its shapes") {
    const auto one_width = multi_head<float>({.d_model = 8, .heads = 2});
    CHECK(shapes_of(one_width, torch_names(one_width, "self_attn.")) == Shapes{{"self_attn.in_proj_weight", {24, 8}},
                                                                               {"self_attn.in_proj_bias", {24}},
                                                                               {"self_attn.out_proj.weight", {8, 8}},
                                                                               {"self_attn.out_proj.bias", {8}}});
    // One of kdim and vdim is enough for PyTorch to keep all three apart.
    const auto widths = multi_head<float>({.d_model = 8, .heads = 2, .d_memory = 8, .d_value_memory = 6, .bias = false},
                                          torch_extra_keys<float>(scaled_dot_product, {.bias_kv = 8}));
    CHECK(shapes_of(widths, torch_names(widths)) == Shapes{{"q_proj_weight", {8, 8}},
                                                           {"k_proj_weight", {8, 8}},
                                                           {"v_proj_weight", {8, 6}},
                                                           {"out_proj.weight", {8, 8}},
                                                           {"bias_k", {1, 1, 8}},
                                                           {"bias_v", {1, 1, 8}}});
}

TEST_CASE("what PyTorch has no name for keeps its own, and is missed in a file without") {
    auto capped = multi_head<float>({.d_model = 8, .heads = 2, .bias = false}, scaled_dot_product >> soft_cap(5.f));
    CHECK(shapes_of(capped, torch_names(capped)).count("attention.modifiers.0.cap") == 1);
    const auto plain = multi_head<float>({.d_model = 8, .heads = 2, .bias = false}, scaled_dot_product, 1);
    std::stringstream file;
    save_safetensors(file, plain, torch_names(plain));
    CHECK(refusal([&] { load_safetensors(file, capped, torch_names(capped)); }) ==
          "safetensors, from a stream: there is no tensor 'attention.modifiers.0.cap', which is "
          "attention.modifiers.0.cap");
    file.clear(), file.seekg(0);
    load_safetensors(file, capped, without("attention.", torch_names(capped)));
    CHECK(capped.key_weight == plain.key_weight);
}

TEST_CASE("a shape that the module cannot have is refused") {
    const auto refused = [](const MultiHeadShape& shape) {
        return refusal([&] { torch_names(multi_head<float>(shape)); });
    };
    CHECK(refused({.d_model = 8, .heads = 4, .kv_heads = 2}) ==
          "torch_names: nn.MultiheadAttention has as many key heads as query heads, together as wide as d_model, but "
          "the block has 4 and 2 heads of 2 for d_model 8");
    CHECK_FALSE(refused({.d_model = 8, .heads = 4, .d_head = 4}).empty());
}

}  // namespace test_torch_names

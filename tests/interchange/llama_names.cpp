#include <attend/interchange/llama_names.hpp>

#include <sstream>

#include <attend/interchange/safetensors.hpp>
#include <attend/layer/multi_head.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_llama_names {
namespace {

/// A block with one more tensor beside it.
struct Older {
    MultiHeadAttention<float> block;
    std::string name;
    Eigen::Vector2f more = Eigen::Vector2f::Ones();

    static void parameters(auto& self, auto&& visit) { visit("block", self.block), visit(self.name, self.more); }
};

}  // namespace

TEST_CASE("projections are called q_proj to o_proj, grouped and with biases") {
    const auto block = multi_head<float>({.d_model = 8, .heads = 4, .kv_heads = 2}, scaled_dot_product, 1);
    std::stringstream bytes;
    save_safetensors(bytes, block, llama_names("l.0."));
    const Safetensors file(bytes);
    std::string all;
    for (const auto& [name, info] : file.tensors()) all += name + " ";
    CHECK(all ==
          "l.0.k_proj.bias l.0.k_proj.weight l.0.o_proj.bias l.0.o_proj.weight l.0.q_proj.bias l.0.q_proj.weight "
          "l.0.v_proj.bias l.0.v_proj.weight ");
    CHECK(file.matrix<float>("l.0.k_proj.weight") == block.key_weight.transpose());
    auto other = multi_head<float>(block.shape(), scaled_dot_product, 2);
    load_safetensors(file, other, llama_names("l.0."));
    CHECK(other.value_weight == block.value_weight);
}

TEST_CASE("frequencies that older files hold are passed over, and nothing else is") {
    const auto block = multi_head<float>({.d_model = 4, .heads = 2, .bias = false}, scaled_dot_product, 1);
    const auto load_with = [&](const std::string& name) {
        const Older older{.block = block, .name = name};
        std::stringstream bytes;
        save_safetensors(bytes, older, {.place = [&](std::string_view own) -> TensorPlace {
                             return own.starts_with("block.") ? llama_names("l.0.").of(own.substr(6))
                                                              : TensorPlace{.name = std::string(own)};
                         }});
        auto other = multi_head<float>(block.shape(), scaled_dot_product, 2);
        load_safetensors(bytes, other, llama_names("l.0."));
        CHECK(other.query_weight == block.query_weight);
    };
    CHECK(refusal([&] { load_with("l.0.rotary_emb.inv_freq"); }).empty());
    CHECK(refusal([&] { load_with("l.1.q_norm.weight"); }).empty());
    CHECK(refusal([&] { load_with("l.0.q_norm.weight"); }) ==
          "safetensors, from a stream: tensor 'l.0.q_norm.weight' is no parameter of what is loaded");
}

}  // namespace test_llama_names

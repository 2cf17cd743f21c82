#pragma once
/// \file
/// What PyTorch's checkpoints call the parameters of `nn.MultiheadAttention`.

#include <string>
#include <string_view>
#include <utility>

#include <attend/core/errors.hpp>
#include <attend/interchange/tensor_names.hpp>

namespace attend::inline ATTEND_ABI {

/// The names of `nn.MultiheadAttention(embed_dim = d_model, num_heads = heads, kdim = d_memory, vdim = d_value_memory)`
/// for that block: `load_safetensors(file, block, torch_names(block, "self_attn."))`, and to save. Weights are out × in
/// there; in_proj_weight holds those of queries, keys and values below each other where all have one width. What
/// parameters the block's attention has besides, PyTorch has no names for: they keep their own, and where the file has
/// none, `without("attention.", …)` leaves them as they are. Throws where the block's shape is none of that module.
/// Its averaged weights are those of `mean_weights`, as `.insight` of a call; those of heads are `.weights`.
template <class Block>
TensorNames torch_names(const Block& block, std::string prefix = {}) {
    const auto& shape = block.shape();
    detail::require(shape.kv_heads == shape.heads && shape.heads * shape.d_head == shape.d_model,
                    "torch_names: nn.MultiheadAttention has as many key heads as query heads, together as wide as ",
                    "d_model, but the block has ", shape.heads, " and ", shape.kv_heads, " heads of ", shape.d_head,
                    " for d_model ", shape.d_model);
    const bool packed = shape.d_memory == shape.d_model && shape.d_value_memory == shape.d_model;
    const auto place = [packed](std::string_view own) -> TensorPlace {
        const auto weight = [packed](const char* apart) {
            return TensorPlace{.name = packed ? "in_proj_weight" : apart, .transposed = true};
        };
        if (own == "query_weight") return weight("q_proj_weight");
        if (own == "key_weight") return weight("k_proj_weight");
        if (own == "value_weight") return weight("v_proj_weight");
        if (own == "output_weight") return {.name = "out_proj.weight", .transposed = true};
        if (own == "query_bias" || own == "key_bias" || own == "value_bias") return {.name = "in_proj_bias"};
        if (own == "output_bias") return {.name = "out_proj.bias"};
        if (own == "attention.bias_k") return {.name = "bias_k", .rank = 3};
        if (own == "attention.bias_v") return {.name = "bias_v", .rank = 3};
        return {.name = std::string(own)};
    };
    return {.prefix = std::move(prefix), .place = place, .notes = {{"format", "pt"}}};
}

}  // namespace attend

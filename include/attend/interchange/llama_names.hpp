#pragma once
/// \file
/// What Llama-style checkpoints call the parameters of their attention.

#include <string>
#include <string_view>
#include <utility>

#include <attend/interchange/tensor_names.hpp>

namespace attend::inline ATTEND_ABI {

/// q_proj.weight, k_proj.weight, v_proj.weight and o_proj.weight, out × in, and where the block has biases q_proj.bias,
/// …: `load_safetensors(file, block, llama_names("model.layers.3.self_attn."))`, and to save. Heads may be grouped. In
/// checkpoints with these names RoPE turns the two halves of a head, `RopeLayout::half_split`, as `Rope{}` does; those
/// that Meta gave out turn neighbours and have other names. Frequencies of RoPE that older files hold are not read:
/// `Rope` says its base. What the block's attention has besides keeps its own names, see `without`.
inline TensorNames llama_names(std::string prefix = {}) {
    const auto place = [](std::string_view own) -> TensorPlace {
        constexpr std::string_view ours[] = {"query", "key", "value", "output"}, theirs[] = {"q", "k", "v", "o"};
        for (std::size_t i = 0; i < 4; ++i) {
            if (!own.starts_with(ours[i])) continue;
            const std::string_view kind = own.substr(ours[i].size());
            const std::string projection = std::string(theirs[i]) + "_proj.";
            if (kind == "_weight") return {.name = projection + "weight", .transposed = true};
            if (kind == "_bias") return {.name = projection + "bias"};
        }
        return {.name = std::string(own)};
    };
    return {
        .prefix = std::move(prefix), .place = place, .ignored = {"rotary_emb.inv_freq"}, .notes = {{"format", "pt"}}};
}

}  // namespace attend

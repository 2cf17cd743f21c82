#pragma once

#include "attentions.hpp"
#include "model.hpp"

#include <sstream>

namespace transformer_lm {

/// All that decides whether saved weights fit a model and mean what they meant, in one line.
inline std::string kind_of_model(const AttentionChoice& attention, const ModelSizes& sizes, std::string_view text) {
    std::ostringstream line;
    line << "transformer_lm, version 2, score " << attention.score << ", soft cap " << attention.soft_cap << ", "
         << sizes.layers << " layers, " << sizes.heads << " heads, width " << sizes.width << ", context "
         << sizes.context << ", on text " << std::hex << fingerprint(text);
    return line.str();
}

}  // namespace transformer_lm

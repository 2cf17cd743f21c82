#pragma once

#include "../support/command_line.hpp"
#include "text.hpp"

#include <optional>

namespace transformer_lm {

/// What to go on from: `--prompt`, or without it a line's length of the held-out text. Throws UsageError where it is
/// empty or the model knows no such character.
inline Tokens prompt_of(const std::optional<std::string>& given, const Corpus& corpus) {
    Tokens prompt;
    if (!given) {
        const Corpus::Part part = corpus.specimen();
        for (Index place = part.begin; place < part.end; ++place) prompt.push_back(corpus.token(place));
        return prompt;
    }
    try {
        for (const std::string& character : characters_of(*given)) prompt.push_back(corpus.token_of(character));
    } catch (const std::invalid_argument& error) {
        throw UsageError(std::string("--prompt: ") + error.what());
    }
    if (prompt.empty()) throw UsageError("--prompt needs at least one character");
    return prompt;
}

}  // namespace transformer_lm

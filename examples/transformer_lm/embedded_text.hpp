#pragma once

#include <string_view>

namespace transformer_lm {

/// The project's LICENSE and README, which the program carries so that it runs anywhere. In a source of its own, so
/// that an edit of the README compiles little anew.
extern const std::string_view embedded_text;

}  // namespace transformer_lm

#pragma once
/// \file
/// Dot-product score.

#include <attend/core/concepts.hpp>

namespace attend::inline ATTEND_ABI {

/// s = q · k, for q and k of one width (Luong et al. 2015, "dot"). No parameters.
struct DotScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

    auto spelled(const auto& say) const { return say("dot_product"); }
};

}  // namespace attend

#pragma once
/// \file
/// How far positions and sizes may go.

#include <cstdint>
#include <string_view>

#include <attend/core/errors.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Positions and sizes beyond which the arithmetic of positions or of scratch memory could overflow: below them a
/// position is also exact as a double. One bound for all, so that no mask or modifier need think of it.
inline constexpr int position_bits = sizeof(Index) >= 8 ? 53 : 28;
inline constexpr Index most_position = Index(1) << position_bits;

/// Whether each of some sizes is from 0 to below `most_position`.
template <class... Sizes>
constexpr bool are_sizes(Sizes... sizes) {
    return static_cast<std::uint64_t>((sizes | ...)) >> position_bits == 0;
}
constexpr bool is_position(Index i) { return -most_position <= i && i <= most_position; }
/// Throws unless `i` is a position: "`name` must be from …".
inline void check_position(std::string_view name, Index i) {
    if (!is_position(i)) refuse(name, " must be from -2^", position_bits, " to 2^", position_bits, ", got ", i);
}

}  // namespace attend::detail

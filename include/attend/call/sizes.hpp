#pragma once
/// \file
/// Whether the sizes of a call fit together, and into memory.

#include <cstdint>
#include <limits>

#include <attend/call/places.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/positions.hpp>
#include <attend/core/types.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Throws unless every key/value head serves as many query heads.
template <class T>
void require_groups(const StridedView<T>& q, const StridedView<T>& k) {
    if (q.heads == k.heads && q.heads > 0) return;  // without a division
    if (k.heads <= 0 || q.heads <= 0 || q.heads % k.heads != 0)
        refuse("the ", k.heads, " key/value heads of ", named("k", k), " must divide the ", q.heads, " query heads of ",
               named("q", q));
}

/// Throws what could overflow in a call of that shape.
ATTEND_NOINLINE inline void require_within_reach(const Shape& s) {
    check_position("query_offset", s.query_offset);
    const auto size = [](Index n) { return static_cast<double>(n); };
    constexpr double most = static_cast<double>(std::numeric_limits<Index>::max() / 16);
    require(are_sizes(s.sequences, s.heads, s.kv_heads, s.queries, s.keys, s.d_q, s.d_k, s.d_v) &&
                size(s.sequences) * size(s.heads) *
                        (size(s.queries) * (size(s.d_q) + size(s.d_v) + 1) +
                         size(s.keys) * (size(s.d_k) + size(s.d_v) + 1)) <
                    most,
            "q (", shape_words(s.sequences, s.heads, s.queries, s.d_q), "), k (",
            shape_words(s.sequences, s.kv_heads, s.keys, s.d_k), ") and v (",
            shape_words(s.sequences, s.kv_heads, s.keys, s.d_v),
            ") have a negative size, or hold more than any memory");
}
/// The same, at once for shapes of fewer than 2^14 of everything.
inline void check_reach(const Shape& s) {
    const auto all =
        static_cast<std::uint64_t>(s.sequences | s.heads | s.kv_heads | s.queries | s.keys | s.d_q | s.d_k | s.d_v);
    constexpr int bits = sizeof(Index) >= 8 ? 14 : 6;
    if (all >> bits != 0 || !is_position(s.query_offset)) [[unlikely]]
        require_within_reach(s);
}

}  // namespace attend::detail

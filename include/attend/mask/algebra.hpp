#pragma once
/// \file
/// Masks combined: `a & b`, `a | b`, `~a`; and the mask that keeps everything.

#include <utility>

#include <attend/core/concepts.hpp>
#include <attend/core/lanes.hpp>

namespace attend::inline ATTEND_ABI {

/// Keeps every pair: what an attention has before a mask is given.
struct Everything {
    static constexpr Kind kind = Kind::mask;

    auto spelled(const auto& say) const { return say(""); }  // as none is written

    constexpr bool operator()(const Position&) const { return true; }
    constexpr Cover cover(const Tile&) const { return Cover::all; }
};

/// Keeps what both keep: `a & b`.
template <Mask A, Mask B>
struct MaskAnd {
    static constexpr Kind kind = Kind::mask;

    ATTEND_NO_UNIQUE_ADDRESS A a;  ///< the first mask
    ATTEND_NO_UNIQUE_ADDRESS B b;  ///< the second one

    auto spelled(const auto& say) const { return say("", say.join(" & ", a, b)); }

    void check(const Shape& shape) const { detail::check_part(a, shape), detail::check_part(b, shape); }
    constexpr bool operator()(const Position& p) const { return a(p) && b(p); }
    template <class P>
        requires detail::LaneWiseMask<A, P> && detail::LaneWiseMask<B, P>
    ATTEND_ALWAYS_INLINE auto operator()(const P& p) const {
        return a(p) & b(p);
    }
    ATTEND_ALWAYS_INLINE constexpr Cover cover(const Tile& t) const {
        const Cover x = cover_of(a, t);
        if (x == Cover::none) return x;
        const Cover y = cover_of(b, t);
        return x == Cover::all || y == Cover::none ? y : Cover::some;
    }
    template <class F>
        requires(detail::ListsKeys<A> || detail::ListsKeys<B>)
    constexpr void for_each_run(const RowPosition& row, const KeySpan& keys, F&& f) const {
        if constexpr (detail::ListsKeys<A>) {
            a.for_each_run(row, keys, [&](const KeySpan& run) { for_each_run_of(b, row, run, f); });
        } else {
            b.for_each_run(row, keys, [&](const KeySpan& run) { for_each_run_of(a, row, run, f); });
        }
    }

private:
    /// What another mask leaves of a run.
    template <class F>
    static constexpr void for_each_run_of(const auto& mask, const RowPosition& row, const KeySpan& keys, F&& f) {
        const Cover cover = cover_of(mask, {.query_begin = row.query,
                                            .query_end = row.query + 1,
                                            .key_begin = keys.begin,
                                            .key_end = keys.end,
                                            .row_begin = row.row,
                                            .head = row.head,
                                            .kv_head = row.kv_head,
                                            .sequence = row.sequence});
        if (cover == Cover::all) return f(keys);
        if (cover == Cover::none) return;
        KeySpan run{keys.begin, keys.begin};
        for (Index key = keys.begin; key < keys.end; ++key) {
            if (mask(row.at(key))) {
                run.end = key + 1;
                continue;
            }
            if (!run.empty()) f(std::as_const(run));
            run = {key + 1, key + 1};
        }
        if (!run.empty()) f(std::as_const(run));
    }
};

/// Keeps what either keeps: `a | b`.
template <Mask A, Mask B>
struct MaskOr {
    static constexpr Kind kind = Kind::mask;

    ATTEND_NO_UNIQUE_ADDRESS A a;  ///< the first mask
    ATTEND_NO_UNIQUE_ADDRESS B b;  ///< the second one

    auto spelled(const auto& say) const { return say("", say.join(" | ", a, b)); }

    void check(const Shape& shape) const { detail::check_part(a, shape), detail::check_part(b, shape); }
    constexpr bool operator()(const Position& p) const { return a(p) || b(p); }
    template <class P>
        requires detail::LaneWiseMask<A, P> && detail::LaneWiseMask<B, P>
    auto operator()(const P& p) const {
        return a(p) | b(p);
    }
    constexpr Cover cover(const Tile& t) const {
        const Cover x = cover_of(a, t), y = cover_of(b, t);
        if (x == Cover::all || y == Cover::all) return Cover::all;
        return x == Cover::none && y == Cover::none ? Cover::none : Cover::some;
    }
};

/// Keeps what a mask hides: `~a`.
template <Mask A>
struct MaskNot {
    static constexpr Kind kind = Kind::mask;

    ATTEND_NO_UNIQUE_ADDRESS A a;  ///< the mask

    auto spelled(const auto& say) const { return say.join("", "~", a); }

    void check(const Shape& shape) const { detail::check_part(a, shape); }
    constexpr bool operator()(const Position& p) const { return !a(p); }
    template <class P>
        requires detail::LaneWiseMask<A, P>
    auto operator()(const P& p) const {
        return !a(p);
    }
    constexpr Cover cover(const Tile& t) const {
        const Cover x = cover_of(a, t);
        return x == Cover::all ? Cover::none : x == Cover::none ? Cover::all : Cover::some;
    }
};

/// a ∧ b, a ∨ b, ¬a, of copies. In a composition they stand in parentheses: `attention >> (causal & ~lengths({…}))`.
/// @{
template <Mask A, Mask B>
constexpr MaskAnd<A, B> operator&(A a, B b) {
    return {std::move(a), std::move(b)};
}
template <Mask A, Mask B>
constexpr MaskOr<A, B> operator|(A a, B b) {
    return {std::move(a), std::move(b)};
}
template <Mask A>
constexpr MaskNot<A> operator~(A a) {
    return {std::move(a)};
}
/// @}

}  // namespace attend

#pragma once
/// \file
/// Packs, which hold a value for each lane of a packet: numbers, the outcomes of comparisons, and indices.

#include <concepts>
#include <type_traits>

#include <attend/core/math.hpp>
#include <attend/core/simd.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {

/// The outcome of a comparison, lane by lane: for `select`.
template <class T>
struct LaneMask {
    using Packet = detail::simd::Packet<T>;  ///< a register

    Packet packet;  ///< all bits of a lane, or none

    /// Of such a register.
    explicit LaneMask(const Packet& bits) : packet(bits) {}
    /// The same in every lane, as where a formula asks for the head.
    template <std::same_as<bool> Truth>
    LaneMask(Truth same) : packet(same ? yes() : detail::simd::broadcast(T(0))) {}
    /// of(lane) of each lane.
    template <class F>
    static LaneMask each(F&& of) {
        T lanes[detail::simd::width<T>];
        for (Index i = 0; i < detail::simd::width<T>; ++i) lanes[i] = of(i) ? T(1) : T(0);
        return LaneMask(detail::simd::less(detail::simd::broadcast(T(0)), detail::simd::load(lanes)));
    }

    /// Of each of so many lanes its truth, one after the other in memory.
    static LaneMask of(const bool* truths, Index count) {
        constexpr Index w = detail::simd::width<T>;
        const auto bits =
            count == w ? detail::simd::bits_of_truths(truths, w) : detail::simd::bits_of_truths(truths, count);
        return LaneMask(detail::simd::mask_of_bits<T>(bits));
    }

    /// Of both, and of either.
    /// @{
    friend LaneMask operator&(const LaneMask& a, const LaneMask& b) {
        return LaneMask(detail::simd::bit_and(a.packet, b.packet));
    }
    friend LaneMask operator|(const LaneMask& a, const LaneMask& b) {
        return LaneMask(detail::simd::bit_or(a.packet, b.packet));
    }
    /// @}
    friend LaneMask operator!(const LaneMask& a) {
        return LaneMask(detail::simd::select(a.packet, detail::simd::broadcast(T(0)), yes()));
    }
    // A formula of scalars says && and ||. Both sides are evaluated here.
    friend LaneMask operator&&(const LaneMask& a, const LaneMask& b) { return a & b; }
    friend LaneMask operator||(const LaneMask& a, const LaneMask& b) { return a | b; }
    friend LaneMask operator&&(bool a, const LaneMask& b) { return LaneMask(a) & b; }
    friend LaneMask operator||(bool a, const LaneMask& b) { return LaneMask(a) | b; }
    friend LaneMask operator&&(const LaneMask& a, bool b) { return a & LaneMask(b); }
    friend LaneMask operator||(const LaneMask& a, bool b) { return a | LaneMask(b); }

    explicit operator bool() const {
        static_assert(sizeof(T) == 0,
                      "attend: a formula is asked for many pairs at once, so if, ?: and while cannot decide: choose "
                      "lane by lane with select(condition, a, b), or take const Position& p to be asked pair by pair");
        return false;
    }

private:
    static Packet yes() {
        return detail::simd::less_equal(detail::simd::broadcast(T(0)), detail::simd::broadcast(T(0)));
    }
};

/// Converting a pack to one number is refused in words.
#define ATTEND_PACK_IS_NO_NUMBER                                                                                  \
    template <detail::Arithmetic Number>                                                                          \
    explicit operator Number() const {                                                                            \
        static_assert(sizeof(Number) == 0,                                                                        \
                      "attend: a formula is asked for many pairs at once, so this is no single number: leave it " \
                      "auto, convert by decltype(s)(x), or take const Position& p to be asked pair by pair");     \
        return {};                                                                                                \
    }

/// The index of each lane, as any formula of it may be.
template <class T>
struct LaneIndices {
    Index value[detail::simd::width<T>];  ///< by lane

    constexpr Index operator[](Index lane) const { return value[lane]; }
    ATTEND_PACK_IS_NO_NUMBER
};

/// The indices of consecutive lanes: first, first + step, … Sums with an index and multiples of it are again that.
template <class T>
struct LaneIndex {
    Index first = 0, step = 1;  ///< that of the first lane, and from one to the next
    Index count = 0;            ///< lanes behind these hold nothing

    constexpr Index operator[](Index lane) const { return first + lane * step; }
    ATTEND_PACK_IS_NO_NUMBER
};
/// Many queries with one key. The rows of the queries follow each other; so do their positions, by the step that the
/// call gives them.
template <class T>
using LanePosition = PairPosition<LaneIndex<T>, Index>;
/// One query with many keys that follow each other.
template <class T>
using KeyLanePosition = PairPosition<Index, LaneIndex<T>>;

namespace detail {

template <class P>
struct PackPositionTraits {};
template <class T>
struct PackPositionTraits<LanePosition<T>> {
    using Scalar = T;
};
template <class T>
struct PackPositionTraits<KeyLanePosition<T>> {
    using Scalar = T;
};
/// The pairs of a packet, whichever of query and key runs.
template <class P>
concept PackPosition = requires { typename PackPositionTraits<P>::Scalar; };
template <PackPosition P>
using PositionScalar = typename PackPositionTraits<P>::Scalar;

/// The row of a pair, or the first of a pack's.
template <class P>
constexpr Index first_row(const P& p) {
    if constexpr (requires { p.row.first; }) {
        return p.row.first;
    } else {
        return p.row;
    }
}
/// How many pairs there are, each of them, and the rectangle that they are, where they are one.
template <class T>
constexpr Index pairs_of(const LanePosition<T>& p) {
    return p.query.count;
}
template <class T>
constexpr Index pairs_of(const KeyLanePosition<T>& p) {
    return p.key.count;
}
template <class T>
constexpr Position scalar_position(const LanePosition<T>& p, Index lane) {
    return {p.query[lane], p.key, p.row[lane], p.head, p.kv_head, p.sequence};
}
template <class T>
constexpr Position scalar_position(const KeyLanePosition<T>& p, Index lane) {
    return {p.query, p.key.first + lane, p.row, p.head, p.kv_head, p.sequence};
}
template <class T>
constexpr bool are_tile(const LanePosition<T>& p) {
    return p.query.step == 1;
}
template <class T>
constexpr bool are_tile(const KeyLanePosition<T>&) {
    return true;
}
template <PackPosition P>
constexpr Tile tile_of_pairs(const P& p) {
    const Position first = scalar_position(p, 0), last = scalar_position(p, pairs_of(p) - 1);
    return {first.query, last.query + 1, first.key, last.key + 1, first.row, p.head, p.kv_head, p.sequence};
}

}  // namespace detail

/// One scalar a lane: arithmetic, comparisons, and the functions that a formula may call.
template <class T>
struct Lanes {
    using Packet = detail::simd::Packet<T>;  ///< a register

    Packet packet = detail::simd::broadcast(T(0));  ///< a scalar a lane

    Lanes() = default;
    /// The same number in every lane. Explicit for integers, as for the scalars it stands for.
    template <class Number>
        requires std::is_arithmetic_v<Number>
    explicit(!std::is_floating_point_v<Number>) Lanes(Number number)
        : packet(detail::simd::broadcast(static_cast<T>(number))) {}
    /// Indices as scalars.
    /// @{
    explicit Lanes(const LaneIndex<T>& index)
        : packet(detail::simd::madd(detail::simd::broadcast(static_cast<T>(index.step)), detail::simd::iota<T>(),
                                    detail::simd::broadcast(static_cast<T>(index.first)))) {}
    explicit Lanes(const LaneIndices<T>& indices) : Lanes(gather(indices.value, 1, detail::simd::width<T>)) {}
    /// @}
    ATTEND_PACK_IS_NO_NUMBER

    /// Of a register.
    static Lanes of(const Packet& packet) {
        Lanes lanes;
        lanes.packet = packet;
        return lanes;
    }
    /// from[lane · stride] of the first `count` lanes; 0 behind them.
    template <class X>
    static Lanes gather(const X* from, Index stride, Index count) {
        T lanes[detail::simd::width<T>] = {};
        for (Index i = 0; i < count; ++i) lanes[i] = static_cast<T>(from[i * stride]);
        return of(detail::simd::load(lanes));
    }
    /// f of each lane, one by one.
    template <class F>
    Lanes each(F&& f) const {
        T lanes[detail::simd::width<T>];
        detail::simd::store(lanes, packet);
        for (T& lane : lanes) lane = f(lane);
        return of(detail::simd::load(lanes));
    }

    Lanes operator-() const { return Lanes() - *this; }
    Lanes operator+() const { return *this; }
    friend Lanes operator+(const Lanes& a, const Lanes& b) { return of(detail::simd::add(a.packet, b.packet)); }
    friend Lanes operator-(const Lanes& a, const Lanes& b) { return of(detail::simd::sub(a.packet, b.packet)); }
    friend Lanes operator*(const Lanes& a, const Lanes& b) { return of(detail::simd::mul(a.packet, b.packet)); }
    friend Lanes operator/(const Lanes& a, const Lanes& b) { return of(detail::simd::div(a.packet, b.packet)); }
    Lanes& operator+=(const Lanes& b) { return *this = *this + b; }
    Lanes& operator-=(const Lanes& b) { return *this = *this - b; }
    Lanes& operator*=(const Lanes& b) { return *this = *this * b; }
    Lanes& operator/=(const Lanes& b) { return *this = *this / b; }

    /// A term of the chain rule, for dual numbers of lanes: slope · partial, and 0 where either is 0.
    friend Lanes chain_product(const Lanes& slope, const Lanes& partial) {
        const Packet zero = detail::simd::broadcast(T(0)), product = detail::simd::mul(slope.packet, partial.packet);
        return of(detail::simd::select_equal(slope.packet, zero, zero,
                                             detail::simd::select_equal(partial.packet, zero, zero, product)));
    }

    friend LaneMask<T> operator<(const Lanes& a, const Lanes& b) {
        return LaneMask<T>(detail::simd::less(a.packet, b.packet));
    }
    friend LaneMask<T> operator<=(const Lanes& a, const Lanes& b) {
        return LaneMask<T>(detail::simd::less_equal(a.packet, b.packet));
    }
    friend LaneMask<T> operator==(const Lanes& a, const Lanes& b) { return (a <= b) & (b <= a); }
    friend LaneMask<T> operator!=(const Lanes& a, const Lanes& b) { return !(a == b); }
    friend LaneMask<T> operator>(const Lanes& a, const Lanes& b) { return b < a; }
    friend LaneMask<T> operator>=(const Lanes& a, const Lanes& b) { return b <= a; }
};

#undef ATTEND_PACK_IS_NO_NUMBER

}  // namespace attend

#pragma once
/// \file
/// Packs of lanes as values: what a formula sees as `s` and `p` where a kernel works on a packet of queries at a time.
/// A formula written for `auto` runs on them as it does on scalars; where it has to choose by lane it says
/// `select(condition, a, b)`.

#include <cmath>
#include <concepts>
#include <type_traits>

#include <attend/core/simd.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {

/// The outcome of a comparison, lane by lane: for `select`.
template <class T>
struct LaneMask {
    detail::simd::Packet<T> packet;

    friend LaneMask operator&(const LaneMask& a, const LaneMask& b) {
        return {detail::simd::bit_and(a.packet, b.packet)};
    }
    friend LaneMask operator|(const LaneMask& a, const LaneMask& b) {
        return {detail::simd::bit_or(a.packet, b.packet)};
    }
};

/// The index of each lane, as any formula of it may be.
template <class T>
struct LaneIndices {
    Index value[detail::simd::width<T>];
};

/// The indices of consecutive lanes: first, first + step, … Sums with an index and multiples of it are again that.
template <class T>
struct LaneIndex {
    Index first = 0, step = 1;
    Index count = 0;  ///< lanes behind these hold nothing

    constexpr Index operator[](Index lane) const { return first + lane * step; }

    friend constexpr LaneIndex operator+(LaneIndex a, Index b) { return {a.first + b, a.step, a.count}; }
    friend constexpr LaneIndex operator+(Index a, LaneIndex b) { return b + a; }
    friend constexpr LaneIndex operator-(LaneIndex a, Index b) { return a + (-b); }
    friend constexpr LaneIndex operator-(Index a, LaneIndex b) { return -b + a; }
    friend constexpr LaneIndex operator*(LaneIndex a, Index b) { return {a.first * b, a.step * b, a.count}; }
    friend constexpr LaneIndex operator*(Index a, LaneIndex b) { return b * a; }
    constexpr LaneIndex operator-() const { return *this * Index(-1); }

    friend constexpr LaneIndices<T> operator/(LaneIndex a, Index b) {
        return a.each([b](Index i) { return i / b; });
    }
    friend constexpr LaneIndices<T> operator%(LaneIndex a, Index b) {
        return a.each([b](Index i) { return i % b; });
    }

private:
    template <class F>
    constexpr LaneIndices<T> each(F&& f) const {
        LaneIndices<T> indices{};
        for (Index lane = 0; lane < detail::simd::width<T>; ++lane) indices.value[lane] = f((*this)[lane]);
        return indices;
    }
};
template <class T>
using LanePosition = PairPosition<LaneIndex<T>>;

/// One scalar a lane: arithmetic, comparisons, and the functions that a formula may call.
template <class T>
struct Lanes {
    using Packet = detail::simd::Packet<T>;

    Packet packet = detail::simd::broadcast(T(0));

    Lanes() = default;
    /// The same number in every lane. Explicit for integers, as for the scalars it stands for.
    template <class Number>
        requires std::is_arithmetic_v<Number>
    explicit(!std::is_floating_point_v<Number>) Lanes(Number number)
        : packet(detail::simd::broadcast(static_cast<T>(number))) {}
    explicit Lanes(const LaneIndex<T>& index)
        : packet(detail::simd::madd(detail::simd::broadcast(static_cast<T>(index.step)), detail::simd::iota<T>(),
                                    detail::simd::broadcast(static_cast<T>(index.first)))) {}
    explicit Lanes(const LaneIndices<T>& indices) : Lanes(gather(indices.value, 1, detail::simd::width<T>)) {}

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

    friend LaneMask<T> operator<(const Lanes& a, const Lanes& b) { return {detail::simd::less(a.packet, b.packet)}; }
    friend LaneMask<T> operator<=(const Lanes& a, const Lanes& b) {
        return {detail::simd::less_equal(a.packet, b.packet)};
    }
    friend LaneMask<T> operator>(const Lanes& a, const Lanes& b) { return b < a; }
    friend LaneMask<T> operator>=(const Lanes& a, const Lanes& b) { return b <= a; }
};

/// A number beside lanes is the same in all of them; an index is compared as a difference, whose sign no rounding
/// changes.
#define ATTEND_LANES_WITH_NUMBER(op)                \
    template <class T, class Number>                \
        requires std::is_arithmetic_v<Number>       \
    auto operator op(const Lanes<T>& a, Number b) { \
        return a op Lanes<T>(b);                    \
    }                                               \
    template <class T, class Number>                \
        requires std::is_arithmetic_v<Number>       \
    auto operator op(Number a, const Lanes<T>& b) { \
        return Lanes<T>(a) op b;                    \
    }
#define ATTEND_LANE_INDEX_COMPARED(op)                 \
    ATTEND_LANES_WITH_NUMBER(op)                       \
    template <class T>                                 \
    LaneMask<T> operator op(LaneIndex<T> a, Index b) { \
        return Lanes<T>(a - b) op Lanes<T>();          \
    }                                                  \
    template <class T>                                 \
    LaneMask<T> operator op(Index a, LaneIndex<T> b) { \
        return Lanes<T>(a - b) op Lanes<T>();          \
    }
ATTEND_LANES_WITH_NUMBER(+)
ATTEND_LANES_WITH_NUMBER(-)
ATTEND_LANES_WITH_NUMBER(*)
ATTEND_LANES_WITH_NUMBER(/)
ATTEND_LANE_INDEX_COMPARED(<)
ATTEND_LANE_INDEX_COMPARED(<=)
ATTEND_LANE_INDEX_COMPARED(>)
ATTEND_LANE_INDEX_COMPARED(>=)
#undef ATTEND_LANES_WITH_NUMBER
#undef ATTEND_LANE_INDEX_COMPARED

template <class T>
Lanes<T> select(const LaneMask<T>& mask, const std::type_identity_t<Lanes<T>>& a,
                const std::type_identity_t<Lanes<T>>& b) {
    return Lanes<T>::of(detail::simd::select(mask.packet, a.packet, b.packet));
}
template <class T>
Lanes<T> min(const Lanes<T>& a, const std::type_identity_t<Lanes<T>>& b) {
    return Lanes<T>::of(detail::simd::min(a.packet, b.packet));
}
template <class T>
Lanes<T> max(const Lanes<T>& a, const std::type_identity_t<Lanes<T>>& b) {
    return Lanes<T>::of(detail::simd::max(a.packet, b.packet));
}
template <class T>
Lanes<T> abs(const Lanes<T>& x) {
    return Lanes<T>::of(detail::simd::abs(x.packet));
}
template <class T>
Lanes<T> sqrt(const Lanes<T>& x) {
    return Lanes<T>::of(detail::simd::sqrt(x.packet));
}
/// The sum of all lanes.
template <class T>
T sum(const Lanes<T>& x) {
    return detail::simd::sum<T>(x.packet);
}
/// a·b + c, rounded once where the target has such an instruction: the same bits wherever a formula is compiled to.
template <class T>
Lanes<T> madd(const Lanes<T>& a, const Lanes<T>& b, const Lanes<T>& c) {
    return Lanes<T>::of(detail::simd::madd(a.packet, b.packet, c.packet));
}
/// 1 / x of a finite x > 0, at most 2 ulp off.
template <class T>
Lanes<T> reciprocal(const Lanes<T>& x) {
    return Lanes<T>::of(detail::simd::reciprocal<T>(x.packet));
}
template <class T>
Lanes<T> tanh(const Lanes<T>& x) {
    return Lanes<T>::of(detail::simd::tanh<T>(x.packet));
}
template <class T>
Lanes<T> log(const Lanes<T>& x) {
    return x.each([](T lane) { return std::log(lane); });
}
template <class T>
Lanes<T> sin(const Lanes<T>& x) {
    return x.each([](T lane) { return std::sin(lane); });
}
template <class T>
Lanes<T> cos(const Lanes<T>& x) {
    return x.each([](T lane) { return std::cos(lane); });
}
template <class T, class Number>
    requires std::is_arithmetic_v<Number>
Lanes<T> pow(const Lanes<T>& x, Number exponent) {
    return x.each([exponent](T lane) { return std::pow(lane, static_cast<T>(exponent)); });
}

namespace detail {

/// A mask that answers for a packet of queries at once.
template <class M, class T>
concept LaneWiseMask = requires(const M& mask, const LanePosition<T>& p) {
    { mask(p) } -> std::same_as<LaneMask<T>>;
};

}  // namespace detail
}  // namespace attend

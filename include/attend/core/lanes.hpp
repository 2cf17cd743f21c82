#pragma once
/// \file
/// Packs of lanes as values: what a formula sees as `s` and `p` where a kernel works on a packet of queries at a time.
/// A formula written for `auto` runs on them as it does on scalars; where it has to choose by lane it says
/// `select(condition, a, b)`.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <type_traits>

#include <attend/core/math.hpp>
#include <attend/core/simd.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {

/// The outcome of a comparison, lane by lane: for `select`.
template <class T>
struct LaneMask {
    using Packet = detail::simd::Packet<T>;

    Packet packet;

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

    friend LaneMask operator&(const LaneMask& a, const LaneMask& b) {
        return LaneMask(detail::simd::bit_and(a.packet, b.packet));
    }
    friend LaneMask operator|(const LaneMask& a, const LaneMask& b) {
        return LaneMask(detail::simd::bit_or(a.packet, b.packet));
    }
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
                      "attend: a formula is asked for many queries at once, so if, ?: and while cannot decide: choose "
                      "lane by lane with select(condition, a, b), or take const Position& p to be asked pair by pair");
        return false;
    }

private:
    static Packet yes() {
        return detail::simd::less_equal(detail::simd::broadcast(T(0)), detail::simd::broadcast(T(0)));
    }
};

/// Converting a pack to one number is refused in words.
#define ATTEND_PACK_IS_NO_NUMBER                                                                                    \
    template <detail::Arithmetic Number>                                                                            \
    explicit operator Number() const {                                                                              \
        static_assert(sizeof(Number) == 0,                                                                          \
                      "attend: a formula is asked for many queries at once, so this is no single number: leave it " \
                      "auto, convert by decltype(s)(x), or take const Position& p to be asked pair by pair");       \
        return {};                                                                                                  \
    }

/// The index of each lane, as any formula of it may be.
template <class T>
struct LaneIndices {
    Index value[detail::simd::width<T>];

    constexpr Index operator[](Index lane) const { return value[lane]; }
    ATTEND_PACK_IS_NO_NUMBER
};

/// The indices of consecutive lanes: first, first + step, … Sums with an index and multiples of it are again that.
template <class T>
struct LaneIndex {
    Index first = 0, step = 1;
    Index count = 0;  ///< lanes behind these hold nothing

    constexpr Index operator[](Index lane) const { return first + lane * step; }
    ATTEND_PACK_IS_NO_NUMBER
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
    ATTEND_PACK_IS_NO_NUMBER

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

namespace detail {

template <class X>
struct LaneTraits {
    static constexpr bool indices = false, lanes = false;
};
template <class T>
struct LaneTraits<Lanes<T>> {
    using Scalar = T;
    static constexpr bool indices = false, lanes = true;
};
template <class T>
struct LaneTraits<LaneIndices<T>> {
    using Scalar = T;
    static constexpr bool indices = true, lanes = false, affine = false;
};
template <class T>
struct LaneTraits<LaneIndex<T>> {
    using Scalar = T;
    static constexpr bool indices = true, lanes = false, affine = true;
};

template <class X>
concept IndexPack = LaneTraits<X>::indices;
template <class X>
concept ScalarPack = LaneTraits<X>::lanes;
template <class X>
concept AnyPack = IndexPack<X> || ScalarPack<X>;

/// Two things of which at least one is a pack, and the other one or a number.
template <class A, class B>
struct PackScalar {};
template <AnyPack A, Arithmetic B>
struct PackScalar<A, B> {
    using type = typename LaneTraits<A>::Scalar;
};
template <Arithmetic A, AnyPack B>
struct PackScalar<A, B> {
    using type = typename LaneTraits<B>::Scalar;
};
template <AnyPack A, AnyPack B>
    requires std::same_as<typename LaneTraits<A>::Scalar, typename LaneTraits<B>::Scalar>
struct PackScalar<A, B> {
    using type = typename LaneTraits<A>::Scalar;
};
template <class A, class B>
using PackScalarOf = typename PackScalar<A, B>::type;

template <class A, class B>
concept WithPack = requires { typename PackScalarOf<A, B>; };
/// Integer arithmetic, as on scalars.
template <class A, class B>
concept OfIndices = WithPack<A, B> && (IndexPack<A> || std::integral<A>)&&(IndexPack<B> || std::integral<B>);
/// Floating-point arithmetic; that of two `Lanes` stands with them.
template <class A, class B>
concept OfScalars = WithPack<A, B> && !OfIndices<A, B> && !(ScalarPack<A> && ScalarPack<B>);
template <class X>
concept Affine = std::integral<X> || requires { requires LaneTraits<X>::affine; };

/// An index of one lane. Lanes that hold nothing repeat the last that does: what a formula may not be asked of, such as
/// a remainder by 0, it is asked of nowhere else.
template <std::integral Number>
constexpr Index index_at(Number i, Index) {
    return static_cast<Index>(i);
}
template <class T>
constexpr Index index_at(const LaneIndices<T>& i, Index lane) {
    return i.value[lane];
}
template <class T>
constexpr Index index_at(const LaneIndex<T>& i, Index lane) {
    return i[lane < i.count ? lane : i.count > 0 ? i.count - 1 : 0];
}
template <class T>
constexpr LaneIndex<T> as_affine(const LaneIndex<T>& i) {
    return i;
}
template <class T, std::integral Number>
constexpr LaneIndex<T> as_affine(Number i) {
    return {static_cast<Index>(i), 0, 0};
}

template <class T, class F>
constexpr LaneIndices<T> indices_of(F&& f) {
    LaneIndices<T> indices{};
    for (Index lane = 0; lane < simd::width<T>; ++lane) indices.value[lane] = f(lane);
    return indices;
}
template <class A, class B, class F>
constexpr auto indices_of(const A& a, const B& b, F&& f) {
    return indices_of<PackScalarOf<A, B>>([&](Index lane) { return f(index_at(a, lane), index_at(b, lane)); });
}

/// a op b of an index pack and a floating-point number. A number narrower than T computes as it does with a scalar
/// index: `0.1f * i` is a float.
template <class T, class A, class B, class F>
Lanes<T> scalars_of(const A& a, const B& b, F&& f) {
    using Number = std::conditional_t<std::floating_point<A>, A, B>;
    if constexpr (std::floating_point<Number> && sizeof(Number) < sizeof(T)) {
        if constexpr (IndexPack<A> || IndexPack<B>) {
            T lanes[simd::width<T>];
            const auto at = [](const auto& x, Index lane) {
                if constexpr (std::floating_point<std::remove_cvref_t<decltype(x)>>) {
                    return x;
                } else {
                    return static_cast<Number>(index_at(x, lane));
                }
            };
            for (Index lane = 0; lane < simd::width<T>; ++lane)
                lanes[lane] = static_cast<T>(f(at(a, lane), at(b, lane)));
            return Lanes<T>::of(simd::load(lanes));
        }
    }
    return f(Lanes<T>(a), Lanes<T>(b));
}

/// The signs of a − b, lane by lane, exactly: sign(lanes) is asked of lanes that have them.
template <class A, class B, class Sign, class Compare>
auto compare_indices(const A& a, const B& b, Sign&& sign, Compare&& compare) {
    using T = PackScalarOf<A, B>;
    if constexpr (Affine<A> && Affine<B>) {
        const LaneIndex<T> x = as_affine<T>(a), y = as_affine<T>(b);
        // Differences beyond the bounds of what T holds exactly keep their signs where they are cut off.
        constexpr Index most = Index(1) << 22, steepest = Index(1) << 15;
        Index first, step;
        if (!__builtin_sub_overflow(x.step, y.step, &step) && -steepest <= step && step <= steepest) {
            if (__builtin_sub_overflow(x.first, y.first, &first)) first = x.first < y.first ? -most : most;
            return sign(Lanes<T>(LaneIndex<T>{first < -most ? -most : first > most ? most : first, step, 0}));
        }
    }
    return LaneMask<T>::each([&](Index lane) { return compare(index_at(a, lane), index_at(b, lane)); });
}

}  // namespace detail

// Sums and differences of affine indices, and their multiples, are affine. All other arithmetic of indices is that of
// integers, lane by lane.
template <class A, class B>
    requires detail::OfIndices<A, B>
constexpr auto operator+(const A& a, const B& b) {
    using T = detail::PackScalarOf<A, B>;
    if constexpr (detail::Affine<A> && detail::Affine<B>) {
        const LaneIndex<T> x = detail::as_affine<T>(a), y = detail::as_affine<T>(b);
        return LaneIndex<T>{x.first + y.first, x.step + y.step, std::max(x.count, y.count)};
    } else {
        return detail::indices_of(a, b, [](Index x, Index y) { return x + y; });
    }
}
template <class A, class B>
    requires detail::OfIndices<A, B>
constexpr auto operator-(const A& a, const B& b) {
    using T = detail::PackScalarOf<A, B>;
    if constexpr (detail::Affine<A> && detail::Affine<B>) {
        const LaneIndex<T> x = detail::as_affine<T>(a), y = detail::as_affine<T>(b);
        return LaneIndex<T>{x.first - y.first, x.step - y.step, std::max(x.count, y.count)};
    } else {
        return detail::indices_of(a, b, [](Index x, Index y) { return x - y; });
    }
}
template <class A, class B>
    requires detail::OfIndices<A, B>
constexpr auto operator*(const A& a, const B& b) {
    using T = detail::PackScalarOf<A, B>;
    if constexpr (detail::Affine<A> && std::integral<B>) {
        const Index factor = static_cast<Index>(b);
        return LaneIndex<T>{a.first * factor, a.step * factor, a.count};
    } else if constexpr (std::integral<A> && detail::Affine<B>) {
        return b * a;
    } else {
        return detail::indices_of(a, b, [](Index x, Index y) { return x * y; });
    }
}
template <class A, class B>
    requires detail::OfIndices<A, B>
constexpr auto operator/(const A& a, const B& b) {
    return detail::indices_of(a, b, [](Index x, Index y) { return x / y; });
}
template <class A, class B>
    requires detail::OfIndices<A, B>
constexpr auto operator%(const A& a, const B& b) {
    return detail::indices_of(a, b, [](Index x, Index y) { return x % y; });
}
template <detail::IndexPack A>
constexpr A operator+(const A& a) {
    return a;
}
template <detail::IndexPack A>
constexpr auto operator-(const A& a) {
    return a * -1;
}
template <detail::IndexPack A>
constexpr auto abs(const A& a) {
    return detail::indices_of(a, 0, [](Index x, Index) { return x < 0 ? -x : x; });
}
template <class A, class B>
    requires detail::OfIndices<A, B>
constexpr auto min(const A& a, const B& b) {
    return detail::indices_of(a, b, [](Index x, Index y) { return y < x ? y : x; });
}
template <class A, class B>
    requires detail::OfIndices<A, B>
constexpr auto max(const A& a, const B& b) {
    return detail::indices_of(a, b, [](Index x, Index y) { return x < y ? y : x; });
}

// A number beside lanes is the same in all of them; indices beside lanes or beside a floating-point number become
// lanes. Lanes compute in T.
#define ATTEND_OF_SCALARS(op)                                                                                       \
    template <class A, class B>                                                                                     \
        requires detail::OfScalars<A, B>                                                                            \
    auto operator op(const A& a, const B& b) {                                                                      \
        return detail::scalars_of<detail::PackScalarOf<A, B>>(a, b,                                                 \
                                                              [](const auto& x, const auto& y) { return x op y; }); \
    }
#define ATTEND_COMPARED(op)                                                                                        \
    template <class A, class B>                                                                                    \
        requires detail::OfScalars<A, B>                                                                           \
    auto operator op(const A& a, const B& b) {                                                                     \
        using L = Lanes<detail::PackScalarOf<A, B>>;                                                               \
        return L(a) op L(b);                                                                                       \
    }                                                                                                              \
    template <class A, class B>                                                                                    \
        requires detail::OfIndices<A, B>                                                                           \
    auto operator op(const A& a, const B& b) {                                                                     \
        using L = Lanes<detail::PackScalarOf<A, B>>;                                                               \
        return detail::compare_indices(                                                                            \
            a, b, [](const L& difference) { return difference op L(); }, [](Index x, Index y) { return x op y; }); \
    }
ATTEND_OF_SCALARS(+)
ATTEND_OF_SCALARS(-)
ATTEND_OF_SCALARS(*)
ATTEND_OF_SCALARS(/)
ATTEND_COMPARED(<)
ATTEND_COMPARED(<=)
ATTEND_COMPARED(>)
ATTEND_COMPARED(>=)
ATTEND_COMPARED(==)
ATTEND_COMPARED(!=)
#undef ATTEND_OF_SCALARS
#undef ATTEND_COMPARED

/// a where the mask holds, b elsewhere: lanes, or indices where both are.
template <class T, class A, class B>
    requires(detail::AnyPack<A> || detail::Arithmetic<A>) && (detail::AnyPack<B> || detail::Arithmetic<B>)
auto select(const LaneMask<T>& mask, const A& a, const B& b) {
    if constexpr (detail::OfIndices<A, B>) {
        T holds[detail::simd::width<T>];
        detail::simd::store(holds, select(mask, Lanes<T>(1), Lanes<T>(0)).packet);
        return detail::indices_of<T>(
            [&](Index lane) { return holds[lane] != T(0) ? detail::index_at(a, lane) : detail::index_at(b, lane); });
    } else {
        return Lanes<T>::of(detail::simd::select(mask.packet, Lanes<T>(a).packet, Lanes<T>(b).packet));
    }
}
/// A choice that is the same in all lanes.
template <class A, class B>
    requires detail::WithPack<A, B>
auto select(bool condition, const A& a, const B& b) {
    return select(LaneMask<detail::PackScalarOf<A, B>>(condition), a, b);
}
template <class T>
Lanes<T> min(const Lanes<T>& a, const Lanes<T>& b) {
    return Lanes<T>::of(detail::simd::min(a.packet, b.packet));
}
template <class T>
Lanes<T> max(const Lanes<T>& a, const Lanes<T>& b) {
    return Lanes<T>::of(detail::simd::max(a.packet, b.packet));
}
template <class A, class B>
    requires detail::OfScalars<A, B>
auto min(const A& a, const B& b) {
    using L = Lanes<detail::PackScalarOf<A, B>>;
    return min(L(a), L(b));
}
template <class A, class B>
    requires detail::OfScalars<A, B>
auto max(const A& a, const B& b) {
    using L = Lanes<detail::PackScalarOf<A, B>>;
    return max(L(a), L(b));
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
#define ATTEND_OF_INDICES(f)                                        \
    template <detail::IndexPack A>                                  \
    auto f(const A& a) {                                            \
        return f(Lanes<typename detail::LaneTraits<A>::Scalar>(a)); \
    }
ATTEND_OF_INDICES(exp)
ATTEND_OF_INDICES(log)
ATTEND_OF_INDICES(sqrt)
ATTEND_OF_INDICES(tanh)
ATTEND_OF_INDICES(sin)
ATTEND_OF_INDICES(cos)
#undef ATTEND_OF_INDICES
template <detail::IndexPack A, detail::Arithmetic Number>
auto pow(const A& a, Number exponent) {
    return pow(Lanes<typename detail::LaneTraits<A>::Scalar>(a), exponent);
}

namespace detail {

/// A mask that answers for a packet of queries at once.
template <class M, class T>
concept LaneWiseMask = requires(const M& mask, const LanePosition<T>& p) {
    { mask(p) } -> std::same_as<LaneMask<T>>;
};

}  // namespace detail
}  // namespace attend

#pragma once
/// \file
/// Arithmetic and comparisons of packs with each other and with numbers, as on the scalars that they stand for: that of
/// indices in integers.

#include <algorithm>
#include <concepts>
#include <type_traits>

#include <attend/core/packs.hpp>

namespace attend::inline ATTEND_ABI {

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

/// a − b, if an index holds it.
constexpr bool subtract(Index a, Index b, Index& difference) {
    using Bits = std::make_unsigned_t<Index>;
    difference = static_cast<Index>(static_cast<Bits>(a) - static_cast<Bits>(b));
    return ((a ^ b) & (a ^ difference)) >= 0;  // it overflows where its sign is not that of a, and that of b is not
}

/// a compared with b, lane by lane, of indices of any kind.
template <class T, class A, class B, class Compare>
ATTEND_NOINLINE LaneMask<T> compare_each(const A& a, const B& b, Compare&& compare) {
    return LaneMask<T>::each([&](Index lane) { return compare(index_at(a, lane), index_at(b, lane)); });
}
/// The signs of a − b, lane by lane, exactly: sign(lanes) is asked of lanes that have them. A mask is asked for each
/// packet of scores: in their loop, what is the same for all of them is found once.
template <class A, class B, class Sign, class Compare>
ATTEND_ALWAYS_INLINE inline auto compare_indices(const A& a, const B& b, Sign&& sign, Compare&& compare) {
    using T = PackScalarOf<A, B>;
    if constexpr (Affine<A> && Affine<B>) {
        const LaneIndex<T> x = as_affine<T>(a), y = as_affine<T>(b);
        // Differences beyond the bounds of what T holds exactly keep their signs where they are cut off.
        constexpr Index most = Index(1) << 22, steepest = Index(1) << 15;
        Index first, step;
        if (subtract(x.step, y.step, step) && -steepest <= step && step <= steepest) {
            if (!subtract(x.first, y.first, first)) first = x.first < y.first ? -most : most;
            return sign(Lanes<T>(LaneIndex<T>{first < -most ? -most : first > most ? most : first, step, 0}));
        }
    }
    return compare_each<T>(a, b, compare);
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
/// Of indices by lane, in integers.
/// @{
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
/// @}

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
    ATTEND_ALWAYS_INLINE inline auto operator op(const A& a, const B& b) {                                         \
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

}  // namespace attend

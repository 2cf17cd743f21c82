#pragma once
/// \file
/// Packs of lanes as values: what a formula sees as `s` and `p` where a kernel works on a packet of queries at a time.
/// A formula written for `auto` runs on them as it does on scalars; where it has to choose by lane it says
/// `select(condition, a, b)`.

#include <cmath>
#include <concepts>
#include <type_traits>

#include <attend/core/pack_operators.hpp>
#include <attend/core/packs.hpp>

namespace attend::inline ATTEND_ABI {

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
/// By lane, the lesser and the larger.
/// @{
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
/// @}
/// By lane.
/// @{
template <class T>
Lanes<T> abs(const Lanes<T>& x) {
    return Lanes<T>::of(detail::simd::abs(x.packet));
}
template <class T>
Lanes<T> sqrt(const Lanes<T>& x) {
    return Lanes<T>::of(detail::simd::sqrt(x.packet));
}
/// @}
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
/// By lane.
/// @{
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
/// @}
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
/// Of indices, as scalars by lane.
template <detail::IndexPack A, detail::Arithmetic Number>
auto pow(const A& a, Number exponent) {
    return pow(Lanes<typename detail::LaneTraits<A>::Scalar>(a), exponent);
}

namespace detail {

/// A mask that answers for a packet of pairs at once.
template <class M, class P>
concept LaneWiseMask = PackPosition<P> && requires(const M& mask, const P& p) {
    { mask(p) } -> std::same_as<LaneMask<PositionScalar<P>>>;
};

}  // namespace detail
}  // namespace attend

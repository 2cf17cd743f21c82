#pragma once
/// \file
/// Modifiers on packs of lanes.

#include <concepts>
#include <tuple>

#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/core/lanes.hpp>

namespace attend::detail {

/// A modifier that changes the scores of a packet of queries and many keys at once.
template <class M, class T>
concept TileModifier = requires(const M& m, T* s, Index i, const LanePosition<T>& p) { m.on_tile(s, i, i, p); };
template <class Chain, class T>
inline constexpr bool any_tile_modifier = false;
template <class... Ms, class T>
inline constexpr bool any_tile_modifier<std::tuple<Ms...>, T> = (TileModifier<Ms, T> || ...);

/// The position of one lane.
template <class T>
Position scalar_position(const LanePosition<T>& p, Index lane) {
    return {p.query.first + lane, p.key, p.row.first + lane, p.head, p.kv_head, p.sequence};
}

/// m(s, p) of a packet of queries. A modifier that takes only scalars is asked lane by lane.
template <class T, class M>
Lanes<T> on_lanes(const M& m, const Lanes<T>& s, const LanePosition<T>& p) {
    if constexpr (requires { Lanes<T>(m(s, p)); }) {
        return Lanes<T>(m(s, p));
    } else {
        T lanes[simd::width<T>];
        simd::store(lanes, s.packet);
        for (Index i = 0; i < p.query.count; ++i) {
            lanes[i] = static_cast<T>(m(lanes[i], scalar_position(p, i)));
        }
        return Lanes<T>::of(simd::load(lanes));
    }
}
template <class T, class... Ms>
Lanes<T> on_lanes(const std::tuple<Ms...>& modifiers, Lanes<T> s, const LanePosition<T>& p) {
    std::apply([&](const auto&... m) { ((s = on_lanes(m, s, p)), ...); }, modifiers);
    return s;
}

/// m's value and derivative in the score of each lane.
template <class T, class M>
Dual<Lanes<T>> dual_on_lanes(const M& m, const Lanes<T>& s, const LanePosition<T>& p) {
    using D = Dual<Lanes<T>>;
    if constexpr (std::invocable<const M&, D, const LanePosition<T>&>) {
        return D(m(D::variable(s), p));
    } else {
        static_assert(std::invocable<const M&, Dual<T>, Position>,
                      "attend: this modifier takes no dual numbers, so its derivative is unknown: write it as "
                      "[](auto s, auto p) { … }");
        T value[simd::width<T>], slope[simd::width<T>] = {};
        simd::store(value, s.packet);
        for (Index i = 0; i < p.query.count; ++i) {
            const Dual<T> y = m(Dual<T>::variable(value[i]), scalar_position(p, i));
            value[i] = y.value;
            slope[i] = y.derivative();
        }
        return D(Lanes<T>::of(simd::load(value)), {Lanes<T>::of(simd::load(slope))});
    }
}
/// Adds the gradients of m's parameters, for scores `s` whose results have the derivatives `ds_out`.
template <class T, class M>
void parameters_backward_on_lanes(const M& m, const Lanes<T>& s, const LanePosition<T>& p, const Lanes<T>& ds_out,
                                  M& gradient) {
    if constexpr (requires { m.backward(s, p, ds_out, gradient); }) {
        m.backward(s, p, ds_out, gradient);
    } else if constexpr (requires { m.backward(T(), Position(), T(), gradient); }) {
        T scores[simd::width<T>], ds[simd::width<T>];
        simd::store(scores, s.packet);
        simd::store(ds, ds_out.packet);
        for (Index i = 0; i < p.query.count; ++i) m.backward(scores[i], scalar_position(p, i), ds[i], gradient);
    }
}
/// Of ds_out, the loss's derivatives in the modified scores of a packet of queries, makes those in the scores `s` that
/// came in, and adds the parameters' gradients. A derivative of 0 stays that, whatever the scores and slopes are.
template <std::size_t i = 0, class T, class... Ms>
Lanes<T> backward_on_lanes(const std::tuple<Ms...>& modifiers, const Lanes<T>& s, const LanePosition<T>& p,
                           const Lanes<T>& ds_out, std::tuple<Ms...>* gradient) {
    if constexpr (i == sizeof...(Ms)) {
        return ds_out;
    } else {
        const auto& m = std::get<i>(modifiers);
        const Dual<Lanes<T>> y = dual_on_lanes(m, s, p);
        const Lanes<T> dy = backward_on_lanes<i + 1>(modifiers, y.value, p, ds_out, gradient);
        const auto zero = simd::broadcast(T(0));
        if (gradient != nullptr) {
            const auto seen = Lanes<T>::of(simd::select_equal(dy.packet, zero, zero, s.packet));
            parameters_backward_on_lanes(m, seen, p, dy, std::get<i>(*gradient));
        }
        return Lanes<T>::of(simd::select_equal(dy.packet, zero, zero, (dy * y.derivative()).packet));
    }
}

}  // namespace attend::detail

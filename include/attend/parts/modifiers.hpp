#pragma once
/// \file
/// Modifiers on packs of lanes, and their derivatives.

#include <algorithm>
#include <concepts>
#include <tuple>
#include <utility>

#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/parameters.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A modifier of the scores of a packet of queries and many keys at once: `on_tile(s, lanes, keys, p)`, and with
/// `backward_on_tile(ds_out, lanes, keys, p, gradient)` its parameters' gradients. p is the first key's.
template <class M, class T>
concept TileModifier = requires(const M& m, M& gradient, T* s, Index i, const LanePosition<T>& p) {
    m.on_tile(s, i, i, p);
    m.backward_on_tile(s, i, i, p, gradient);
};
/// How many of the first `end` modifiers of a tuple are of that kind.
template <class Each, class T>
constexpr std::size_t tile_modifiers(std::size_t end = std::tuple_size_v<Each>) {
    return [end]<std::size_t... i>(std::index_sequence<i...>) {
        return (std::size_t(0) + ... + (i < end && TileModifier<std::tuple_element_t<i, Each>, T> ? 1U : 0U));
    }(std::make_index_sequence<std::tuple_size_v<Each>>());
}

/// A chain that is one of several, as a value of it says: `with(f)` calls `f(chain)` with that one.
template <class Chain>
concept ChosenModifiers = requires { typename Chain::Alternatives; };

/// Calls `f(each)` with the modifiers of a chain, a tuple: once for what is done to many scores, so that a chain that
/// was chosen when the program ran costs them nothing.
template <class Chain, class F>
ATTEND_ALWAYS_INLINE inline void with_modifiers(const Chain& chain, F&& f) {
    if constexpr (ChosenModifiers<Chain>) {
        chain.with([&](const auto& chosen) { f(chosen.each); });
    } else {
        f(chain.each);
    }
}
/// The same beside a chain of gradients, or none: `f(each, each_gradient)`.
template <class Chain, class F>
ATTEND_ALWAYS_INLINE inline void with_modifiers(const Chain& chain, Chain* gradient, F&& f) {
    if constexpr (ChosenModifiers<Chain>) {
        chain.with([&]<class Chosen>(const Chosen& chosen) {
            f(chosen.each, gradient == nullptr ? nullptr : &gradient->template as<Chosen>().each);
        });
    } else {
        f(chain.each, gradient == nullptr ? nullptr : &gradient->each);
    }
}
/// Whether a chain has any.
template <class Chain>
constexpr bool modifies(const Chain& chain) {
    if constexpr (ChosenModifiers<Chain>) {
        return chain.any();
    } else {
        return Chain::count > 0;
    }
}
/// How many modifiers of whole tiles a chain has at most.
template <class T, class... Chains>
constexpr std::size_t most_tile_modifiers(const std::tuple<Chains...>*) {
    return std::max({tile_modifiers<decltype(Chains::each), T>()...});
}
template <class Chain, class T>
constexpr std::size_t most_tile_modifiers() {
    if constexpr (ChosenModifiers<Chain>) {
        return most_tile_modifiers<T>(static_cast<const typename Chain::Alternatives*>(nullptr));
    } else {
        return tile_modifiers<decltype(Chain::each), T>();
    }
}

/// m(s, p) of a packet of pairs. A modifier that takes only scalars is asked lane by lane.
template <class T, class M, PackPosition P>
Lanes<T> on_lanes(const M& m, const Lanes<T>& s, const P& p) {
    if constexpr (requires { Lanes<T>(m(s, p)); }) {
        return Lanes<T>(m(s, p));
    } else {
        T lanes[simd::width<T>];
        simd::store(lanes, s.packet);
        for (Index i = 0; i < pairs_of(p); ++i) {
            lanes[i] = static_cast<T>(m(lanes[i], scalar_position(p, i)));
        }
        return Lanes<T>::of(simd::load(lanes));
    }
}
template <class T, PackPosition P, class... Ms>
Lanes<T> on_lanes(const std::tuple<Ms...>& modifiers, Lanes<T> s, const P& p) {
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
/// The lanes of a packet whose derivative is not 0. Others add nothing to a gradient, whatever they hold: a formula of
/// all lanes is given there what one of these holds, since 0 times what it makes of an infinite score, or of the
/// features of no query, would be NaN.
template <class T>
class MovingLanes {
public:
    explicit MovingLanes(const Lanes<T>& ds) : ds_(ds) {
        const auto zero = simd::broadcast(T(0)), one = simd::broadcast(T(1));
        all_ = simd::largest<T>(simd::select_equal(ds.packet, zero, one, zero)) == T(0);
        if (all_) return;
        T lanes[simd::width<T>];
        simd::store(lanes, ds.packet);
        first_ = std::find_if(lanes, lanes + simd::width<T>, [](T d) { return d != T(0); }) - lanes;
    }
    bool any() const { return first_ < simd::width<T>; }
    Lanes<T> of(const Lanes<T>& x) const {
        if (all_) return x;
        T lanes[simd::width<T>];
        simd::store(lanes, x.packet);
        return Lanes<T>::of(
            simd::select_equal(ds_.packet, simd::broadcast(T(0)), simd::broadcast(lanes[first_]), x.packet));
    }

private:
    const Lanes<T>& ds_;
    bool all_ = false;
    std::ptrdiff_t first_ = 0;
};

/// Adds the gradients of m's parameters, for scores `s` whose results have the derivatives `ds_out`.
template <class T, class M>
void parameters_backward_on_lanes(const M& m, const Lanes<T>& s, const LanePosition<T>& p, const Lanes<T>& ds_out,
                                  M& gradient) {
    if constexpr (requires { m.backward(s, p, ds_out, gradient); }) {
        const MovingLanes<T> moving(ds_out);
        if (moving.any()) m.backward(moving.of(s), p, ds_out, gradient);
    } else if constexpr (requires { m.backward(T(), Position(), T(), gradient); }) {
        T scores[simd::width<T>], ds[simd::width<T>];
        simd::store(scores, s.packet);
        simd::store(ds, ds_out.packet);
        for (Index i = 0; i < p.query.count; ++i) {
            if (ds[i] != T(0)) m.backward(scores[i], scalar_position(p, i), ds[i], gradient);
        }
    } else {
        static_assert(!HasParameters<M>,
                      "attend: this modifier has parameters, but no backward that adds their gradients: it needs void "
                      "backward(auto s, const auto& p, auto ds_out, Self& gradient) const");
    }
}
/// Of ds_out, the loss's derivatives in the modified scores of a packet of queries, makes those in the scores `s` that
/// came in, and adds the parameters' gradients; of modifiers of whole tiles `keep(index, ds_out)` is called instead. A
/// derivative of 0 stays that, whatever the scores and slopes are.
template <class T, class... Ms, class Keep>
Lanes<T> backward_on_lanes(const std::tuple<Ms...>& modifiers, const Lanes<T>& s, const LanePosition<T>& p,
                           const Lanes<T>& ds_out, std::tuple<Ms...>* gradient, Keep&& keep) {
    const auto zero = simd::broadcast(T(0));
    const auto seen = [&](const Lanes<T>& score) {  // where nothing is to be had it may be anything: masked, or −∞
        return Lanes<T>::of(simd::select_equal(ds_out.packet, zero, zero, score.packet));
    };
    const auto from = [&]<std::size_t i>(const auto& self, std::integral_constant<std::size_t, i> index,
                                         const Lanes<T>& s_in) ATTEND_ALWAYS_INLINE -> Lanes<T> {
        if constexpr (i == sizeof...(Ms)) {
            return ds_out;
        } else {
            const auto& m = std::get<i>(modifiers);
            const Dual<Lanes<T>> y = dual_on_lanes(m, s_in, p);
            const Lanes<T> dy = self(self, std::integral_constant<std::size_t, i + 1>(), seen(y.value));
            if (gradient != nullptr) {
                if constexpr (TileModifier<std::tuple_element_t<i, std::tuple<Ms...>>, T>) {
                    keep(index, dy);
                } else {
                    parameters_backward_on_lanes(m, s_in, p, dy, std::get<i>(*gradient));
                }
            }
            return Lanes<T>::of(simd::select_equal(dy.packet, zero, zero, (dy * y.derivative()).packet));
        }
    };
    return from(from, std::integral_constant<std::size_t, 0>(), seen(s));
}

}  // namespace attend::detail

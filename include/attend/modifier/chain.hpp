#pragma once
/// \file
/// Modifiers one after another.

#include <concepts>
#include <tuple>
#include <utility>

#include <attend/core/compute_form.hpp>
#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/core/parameters.hpp>

namespace attend::inline ATTEND_ABI {

/// Modifiers in order, first to last, as one.
template <Modifier... Ms>
struct Modifiers {
    static constexpr std::size_t count = sizeof...(Ms);  ///< of modifiers

    std::tuple<Ms...> each;  ///< the modifiers

    auto spelled(const auto& say) const {
        return std::apply([&](const auto&... m) { return say.join(" >> ", m...); }, each);
    }

    static void parameters(auto& self, auto&& visit) { visit("", self.each); }
    void check(const Shape& shape) const {
        std::apply([&](const auto&... m) { (detail::check_part(m, shape), ...); }, each);
    }

    /// The chain with every parameter in the scalar that it computes in.
    auto compute_form() const {
        return std::apply(
            [](const auto&... m) {
                using Form = Modifiers<decltype(detail::compute_form(m))...>;
                return Form{decltype(Form::each)(detail::compute_form(m)...)};
            },
            each);
    }
    /// The way back.
    void round_from(const auto& form) {
        [&]<std::size_t... i>(std::index_sequence<i...>) {
            (detail::round_into(std::get<i>(each), std::get<i>(form.each)), ...);
        }(std::index_sequence_for<Ms...>());
    }
    /// Whether a parameter is a number of 16 bits.
    static constexpr bool any_half = (detail::HalfPart<Ms> || ...);

    /// All modifiers of a score, one after the other.
    template <class S, class P>
    S operator()(S s, const P& p) const {
        std::apply([&](const auto&... m) { ((s = static_cast<S>(m(s, p))), ...); }, each);
        return s;
    }

    /// Of ds_out, the loss's derivative in the modified score, makes the one in the score `s` that came in, and adds
    /// the parameters' gradients. Derivatives come from the modifiers' own formulas, by dual numbers.
    template <std::size_t i = 0, class T, class P>
    T backward(T s, const P& p, T ds_out, Modifiers* gradient) const {
        if constexpr (i == sizeof...(Ms)) {
            return ds_out;
        } else {
            const auto& m = std::get<i>(each);
            static_assert(std::invocable<decltype(m), Dual<T>, const P&>,
                          "attend: this modifier takes no dual numbers, so its derivative is unknown: write it as "
                          "[](auto s, auto p) { … }");
            const Dual<T> y = m(Dual<T>::variable(s), p);
            const T dy = backward<i + 1>(y.value, p, ds_out, gradient);
            if (dy == T(0)) return T(0);  // a score of −∞ has weight 0, whatever the slopes there
            if constexpr (requires { m.backward(s, p, dy, std::get<i>(gradient->each)); }) {
                if (gradient != nullptr) m.backward(s, p, dy, std::get<i>(gradient->each));
            } else {
                static_assert(!detail::HasParameters<std::remove_cvref_t<decltype(m)>>,
                              "attend: this modifier has parameters, but no backward that adds their gradients: it "
                              "needs void backward(auto s, const auto& p, auto ds_out, Self& gradient) const");
            }
            return dy * y.derivative();
        }
    }
};

namespace detail {

template <class... Ms>
struct ComputeFormOf<Modifiers<Ms...>> {
    using type = Modifiers<ComputeForm<Ms>...>;
};

}  // namespace detail
}  // namespace attend

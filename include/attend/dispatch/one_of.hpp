#pragma once
/// \file
/// Modifiers that are chosen when a program runs.

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <attend/modifier/chain.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Calls f with the alternative that a variant holds. One of them it always holds: nothing here throws.
template <class Variant, class F>
ATTEND_ALWAYS_INLINE inline void with_chosen(Variant& variant, F&& f) {
    [&]<std::size_t... i>(std::index_sequence<i...>) ATTEND_ALWAYS_INLINE {
        static_cast<void>(((variant.index() == i && (static_cast<void>(f(*std::get_if<i>(&variant))), true)) || ...));
    }(std::make_index_sequence<std::variant_size_v<std::remove_const_t<Variant>>>());
}

/// One of several chains of modifiers. Kernels ask which one once for many scores, so that these are modified by the
/// code that the chain alone would have (parts/modifiers.hpp).
template <class... Chains>
struct OneOf {
    using Alternatives = std::tuple<Chains...>;
    static constexpr std::size_t count = std::max({Chains::count...});  ///< of modifiers at most
    static constexpr bool any_half = (Chains::any_half || ...);

    std::variant<Chains...> chosen;

    static void parameters(auto& self, auto&& visit) {
        with(self, [&](auto& chain) { visit("", chain.each); });
    }
    void check(const Shape& shape) const {
        with([&](const auto& chain) { chain.check(shape); });
    }

    /// Calls `f(chain)`.
    template <class F>
    void with(F&& f) const {
        with(*this, f);
    }
    template <class Chain>
    Chain& as() {
        return std::get<Chain>(chosen);
    }
    /// Whether it has any modifiers.
    bool any() const {
        bool some = false;
        with([&](const auto& chain) { some = std::remove_cvref_t<decltype(chain)>::count > 0; });
        return some;
    }

private:
    template <class Self, class F>
    static void with(Self& self, F&& f) {
        with_chosen(self.chosen, f);
    }
};

}  // namespace attend::detail

#pragma once
/// \file
/// An input among the options of a call.

#include <string_view>
#include <type_traits>
#include <variant>

#include <attend/core/errors.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A borrowed matrix, heads(x, n) or strided(…) of float, double or long double: options are made before anybody knows
/// in which of these the call computes.
class AnyInput {
public:
    AnyInput() = default;
    template <class T>
    AnyInput(const StridedView<T>& view) {  // NOLINT(google-explicit-constructor)
        using S = std::remove_const_t<T>;
        constexpr bool known = std::is_same_v<S, float> || std::is_same_v<S, double> || std::is_same_v<S, long double>;
        static_assert(known, "attend: this input holds float, double or long double; float where operands are 16-bit");
        if constexpr (known) view_ = StridedView<const S>(view);
    }
    template <DenseMemory X>
    AnyInput(X&& x)  // NOLINT(google-explicit-constructor)
        : AnyInput(view_of<const typename std::remove_cvref_t<X>::Scalar>(x.data(), x)) {
        static_assert(!OwnsMemory<X> || std::is_lvalue_reference_v<X>,
                      "attend: options borrow this input, and it is a temporary matrix: give it a name");
    }
    template <Dense X>
        requires(!DenseMemory<X>)
    AnyInput(const X&) {  // NOLINT(google-explicit-constructor)
        static_assert(DenseMemory<X>, "attend: options borrow this input, and it is an expression: evaluate it first");
    }
    template <class Matrix>
    AnyInput(const OwnedHeads<Matrix>&) {  // NOLINT(google-explicit-constructor)
        static_assert(sizeof(Matrix) == 0,
                      "attend: options borrow this input, and it is heads(x, n) of a temporary: give x a name");
    }

    explicit operator bool() const { return view_.index() != 0; }

    /// Throws unless it holds numbers of type T.
    template <class T>
    const StridedView<const T>& as(std::string_view name) const {
        const auto* view = std::get_if<StridedView<const T>>(&view_);
        require(view != nullptr, name, " must hold numbers of the type that the call computes in: ", words<T>());
        return *view;
    }

private:
    template <class T>
    static constexpr std::string_view words() {
        return std::is_same_v<T, float> ? "float" : std::is_same_v<T, double> ? "double" : "long double";
    }

    std::variant<std::monostate, StridedView<const float>, StridedView<const double>, StridedView<const long double>>
        view_;
};

}  // namespace attend::detail

#pragma once
/// \file
/// Values whose parameters are 16-bit numbers, in the form that sums of gradients are kept in: a sum of many small
/// terms in 16 bits stops growing.

#include <cstddef>
#include <type_traits>
#include <utility>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// A part with parameters of a 16-bit scalar, `Scalar`, which `cast<C>()` makes the same part of C of.
template <class Part>
concept HalfPart = requires(const Part& part) {
    requires !std::is_same_v<Compute<typename Part::Scalar>, typename Part::Scalar>;
    part.template cast<Compute<typename Part::Scalar>>();
};

/// The part with parameters in the scalar that it computes in.
template <class Part>
auto compute_form(const Part& part) {
    if constexpr (HalfPart<Part>) {
        return part.template cast<Compute<typename Part::Scalar>>();
    } else {
        return part;
    }
}
/// The way back, which rounds every parameter once.
template <class Part, class Form>
void round_into(Part& part, const Form& form) {
    if constexpr (HalfPart<Part>) {
        part = form.template cast<typename Part::Scalar>();
    } else {
        part = form;
    }
}

/// Of what holds other parts it is written beside the class.
template <class Value>
struct ComputeFormOf {
    using type = Value;
};
template <HalfPart Value>
struct ComputeFormOf<Value> {
    using type = decltype(compute_form(std::declval<const Value&>()));
};
template <class Value>
struct ComputeFormOf<const Value> {
    using type = const typename ComputeFormOf<Value>::type;
};

}  // namespace detail

/// The type of value that has the parameters of a `Value`, an attention, a part or a layer, in the scalar that it
/// computes in: those of 16 bits in float.
template <class Value>
using ComputeForm = typename detail::ComputeFormOf<Value>::type;

namespace detail {

/// A borrowed value of the gradients of 16-bit parameters, or none: of their type, whose sums are rounded once a call,
/// or of its compute form, whose sums are not rounded at all.
template <class Value>
class GradientOf16Bits {
public:
    GradientOf16Bits(std::nullptr_t = nullptr) {}                      // NOLINT(google-explicit-constructor)
    GradientOf16Bits(Value* rounded) : rounded_(rounded) {}            // NOLINT(google-explicit-constructor)
    GradientOf16Bits(ComputeForm<Value>* summed) : summed_(summed) {}  // NOLINT(google-explicit-constructor)

    friend bool operator==(const GradientOf16Bits& gradient, std::nullptr_t) {
        return gradient.rounded_ == nullptr && gradient.summed_ == nullptr;
    }
    template <class F>
    void with(F&& f) const {
        summed_ != nullptr ? f(summed_) : f(rounded_);
    }

private:
    Value* rounded_ = nullptr;
    ComputeForm<Value>* summed_ = nullptr;
};

/// How options hold where gradients of parameters go.
template <class Value>
using GradientPointer = std::conditional_t<std::is_same_v<Value, ComputeForm<Value>>, Value*, GradientOf16Bits<Value>>;

/// Calls `f` with the pointer, which may be null, to the value that gradients go to.
/// @{
template <class Value, class F>
void with_gradient(Value* gradient, F&& f) {
    f(gradient);
}
template <class Value, class F>
void with_gradient(const GradientOf16Bits<Value>& gradient, F&& f) {
    gradient.with(f);
}
/// @}

}  // namespace detail
}  // namespace attend

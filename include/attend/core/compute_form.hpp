#pragma once
/// \file
/// Parts whose parameters are 16-bit numbers, in the form that sums of gradients are kept in: a sum of many small terms
/// in 16 bits stops growing.

#include <type_traits>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

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

}  // namespace attend

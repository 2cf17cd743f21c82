#pragma once
/// \file
/// Visiting the parameters of anything that has them: parts, attentions, layers. The gradient of such a value is a
/// value of the same type whose parameters hold the gradients, so one visitor serves both.

#include <string>
#include <string_view>
#include <type_traits>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

struct IgnoreParameters {
    template <class Member>
    void operator()(std::string_view, Member&) const {}
};

template <class Part>
concept HasParameters = requires(Part& part) { std::remove_const_t<Part>::parameters(part, IgnoreParameters{}); };

/// Visits the members of `part`, their names behind `prefix`; parts inside a part are entered.
template <class Part, class Visit>
void visit_members(Part& part, const std::string& prefix, Visit&& visit) {
    if constexpr (HasParameters<Part>) {
        std::remove_const_t<Part>::parameters(part, [&](std::string_view name, auto& member) {
            using Member = std::remove_reference_t<decltype(member)>;
            const std::string full = prefix + std::string(name);
            if constexpr (std::is_arithmetic_v<Member>) {
                using Scalar = Eigen::Matrix<std::remove_const_t<Member>, 1, 1>;
                Eigen::Map<std::conditional_t<std::is_const_v<Member>, const Scalar, Scalar>> matrix(&member);
                visit(std::string_view(full), matrix);
            } else if constexpr (requires { member.derived(); }) {
                visit(std::string_view(full), member);
            } else {
                visit_members(member, name.empty() ? prefix : full + ".", visit);
            }
        });
    }
}

/// Whether `part` has any parameter.
template <class Part>
bool has_parameters(Part& part) {
    bool found = false;
    if constexpr (HasParameters<Part>) {
        std::remove_const_t<Part>::parameters(part, [&](std::string_view, auto& member) {
            using Member = std::remove_reference_t<decltype(member)>;
            if constexpr (std::is_arithmetic_v<Member> || requires { member.derived(); }) {
                found = true;
            } else {
                found = found || has_parameters(member);
            }
        });
    }
    return found;
}

}  // namespace detail

/// Calls `visit(std::string_view name, auto& matrix)` for every parameter of an attention, a part or a layer, in an
/// order that never changes, under the name a checkpoint would use. Scalars come as 1×1 maps.
template <class Value, class Visit>
void visit_parameters(Value& value, Visit&& visit) {
    detail::visit_members(value, std::string(), visit);
}

/// A value of the same type and shapes whose parameters are all 0: what `backward` adds gradients into.
template <class Value>
Value zero_gradient(const Value& value) {
    Value gradient = value;
    visit_parameters(gradient, [](std::string_view, auto& matrix) { matrix.setZero(); });
    return gradient;
}

}  // namespace attend

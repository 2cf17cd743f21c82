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

/// The name of a parameter, by the parts that it stands in. Composed only where somebody reads it: that needs the heap.
struct ParameterName {
    std::string_view own{};
    const ParameterName* part = nullptr;

    std::string text() const {
        std::string all = part == nullptr ? std::string() : part->text();
        if (!all.empty() && !own.empty()) all += '.';
        return all.append(own);
    }
};

/// Calls `visit(ParameterName, matrix)` for every parameter of `part`, a scalar as a 1×1 map; parts inside are entered.
template <class Part, class Visit>
void walk_parameters(Part& part, const ParameterName& within, Visit& visit) {
    if constexpr (HasParameters<Part>) {
        std::remove_const_t<Part>::parameters(part, [&](std::string_view own, auto& member) {
            using Member = std::remove_reference_t<decltype(member)>;
            const ParameterName name{own, &within};
            if constexpr (std::is_arithmetic_v<Member>) {
                using Scalar = Eigen::Matrix<std::remove_const_t<Member>, 1, 1>;
                Eigen::Map<std::conditional_t<std::is_const_v<Member>, const Scalar, Scalar>> matrix(&member);
                visit(name, matrix);
            } else if constexpr (requires { member.derived(); }) {
                visit(name, member);
            } else {
                walk_parameters(member, name, visit);
            }
        });
    }
}

/// Whether `part` has any parameter.
template <class Part>
bool has_parameters(Part& part) {
    bool found = false;
    const auto find = [&found](const ParameterName&, const auto&) { found = true; };
    walk_parameters(part, {}, find);
    return found;
}

}  // namespace detail

/// Calls `visit(std::string_view name, auto& matrix)` for every parameter of an attention, a part or a layer, in an
/// order that never changes, under the name a checkpoint would use. Scalars come as 1×1 maps.
template <class Value, class Visit>
void visit_parameters(Value& value, Visit&& visit) {
    const auto named = [&visit](const detail::ParameterName& name, auto& matrix) {
        visit(std::string_view(name.text()), matrix);
    };
    detail::walk_parameters(value, {}, named);
}

/// A value of the same type and shapes whose parameters are all 0: what `backward` adds gradients into.
template <class Value>
Value zero_gradient(const Value& value) {
    Value gradient = value;
    const auto clear = [](const detail::ParameterName&, auto& matrix) { matrix.setZero(); };
    detail::walk_parameters(gradient, {}, clear);
    return gradient;
}

namespace detail {

/// Whether two values have a parameter in the same memory: one that is a view, of which a copy is no other parameter.
template <class Value, class Other>
bool share_parameters(Value& value, Other& other) {
    bool shared = false;
    const auto each = [&](const ParameterName&, const auto& matrix) {
        const void* const memory = matrix.size() == 0 ? nullptr : static_cast<const void*>(matrix.data());
        const auto compare = [&](const ParameterName&, const auto& of_other) {
            shared = shared || (memory != nullptr && memory == static_cast<const void*>(of_other.data()));
        };
        walk_parameters(other, {}, compare);
    };
    walk_parameters(value, {}, each);
    return shared;
}

/// to += from, parameter by parameter, of two values whose parameters have the same shapes.
template <class Value>
void add_parameters(Value& from, Value& to) {
    Index at = 0;
    const auto add = [&](const ParameterName&, auto& sum) {
        Index i = 0;
        const auto add_of_same_place = [&](const ParameterName&, auto& matrix) {
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(matrix)>, std::remove_cvref_t<decltype(sum)>>) {
                if (i == at) sum += matrix;
            }
            ++i;
        };
        walk_parameters(from, {}, add_of_same_place);
        ++at;
    };
    walk_parameters(to, {}, add);
}

}  // namespace detail

}  // namespace attend

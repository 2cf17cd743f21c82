#pragma once
/// \file
/// Visiting the parameters of anything that has them: parts, attentions, layers. The gradient of such a value is a
/// value of the same type whose parameters hold the gradients, so one visitor serves both.

#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

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

/// One number, which a matrix is not.
template <class Member>
concept NumberParameter = std::is_arithmetic_v<Member> || !std::is_same_v<Compute<Member>, Member>;

/// Calls `visit(ParameterName, member)` for every parameter of `part`, a matrix or a number. What stands inside others
/// is entered: parts with parameters, and what containers and tuples hold, by the names 0, 1, … or, of maps, by their
/// keys.
template <class Part, class Visit>
void walk_members(Part& part, const ParameterName& name, Visit& visit) {
    [[maybe_unused]] const auto enter = [&](std::string_view own, auto& member) {
        walk_members(member, ParameterName{own, &name}, visit);
    };
    if constexpr (NumberParameter<std::remove_const_t<Part>> || requires { part.derived(); }) {
        visit(name, part);
    } else if constexpr (HasParameters<Part>) {
        std::remove_const_t<Part>::parameters(part, enter);
    } else if constexpr (requires { part.begin() != part.end(); }) {
        [[maybe_unused]] std::size_t i = 0;
        for (auto& each : part) {
            if constexpr (requires { std::string_view(each.first), each.second; }) {
                enter(each.first, each.second);
            } else {
                enter(std::to_string(i++), each);
            }
        }
    } else if constexpr (requires { std::tuple_size<std::remove_const_t<Part>>::value; }) {
        [&]<std::size_t... i>(std::index_sequence<i...>) {
            (enter(std::to_string(i), std::get<i>(part)), ...);
        }(std::make_index_sequence<std::tuple_size_v<std::remove_const_t<Part>>>());
    }
}

/// A parameter as a matrix: a number as a 1×1 map.
template <class Member>
decltype(auto) as_matrix(Member& member) {
    if constexpr (NumberParameter<std::remove_const_t<Member>>) {
        using Number = Eigen::Matrix<std::remove_const_t<Member>, 1, 1>;
        return Eigen::Map<std::conditional_t<std::is_const_v<Member>, const Number, Number>>(&member);
    } else {
        return (member);
    }
}

/// Calls `visit(ParameterName, matrix)` for every parameter of `part`, as `walk_members` finds them.
template <class Part, class Visit>
void walk_parameters(Part& part, const ParameterName& within, Visit& visit) {
    const auto each = [&](const ParameterName& name, auto& member) {
        auto&& matrix = as_matrix(member);
        visit(name, matrix);
    };
    walk_members(part, within, each);
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
/// order that never changes, under the name a checkpoint would use. Scalars come as 1×1 maps. So do those of a struct
/// of yours with `static void parameters(auto& self, auto&& visit) { visit("encoder", self.encoder); … }`, and of
/// containers and tuples of such: "encoder.0.query_weight". Of several values in step: core/parameters_in_step.hpp.
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

}  // namespace detail

}  // namespace attend

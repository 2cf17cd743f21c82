#pragma once
/// \file
/// The parameters of several values of one type in step: a value and its gradient, its moments, its average.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <attend/core/errors.hpp>
#include <attend/core/parameters.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// An address that no other type has.
template <class T>
inline char type_mark = 0;

/// Where a parameter stands, and what it is.
struct ParameterPlace {
    const void* member = nullptr;
    const void* type = nullptr;
    Index rows = 0, columns = 0;
};

/// The places of up to 32 parameters of a value at a time: values are walked in step without the heap.
struct ParameterPlaces {
    static constexpr Index at_once = 32;
    std::array<ParameterPlace, at_once> places{};

    /// Of those from number `begin` on; returns how many the value has in all.
    template <class Value>
    Index note(Value& value, Index begin) {
        Index i = 0;
        const auto each = [&](const ParameterName&, auto& member) {
            if (begin <= i && i < begin + at_once) places[static_cast<std::size_t>(i - begin)] = place_of(member);
            ++i;
        };
        walk_members(value, {}, each);
        return i;
    }
    const ParameterPlace& operator[](Index i) const { return places[static_cast<std::size_t>(i)]; }

    template <class Member>
    static ParameterPlace place_of(Member& member) {
        const auto& matrix = as_matrix(member);
        return {&member, &type_mark<std::remove_const_t<Member>>, matrix.rows(), matrix.cols()};
    }
};

/// Calls `f(name, member, members of the others…)` for every parameter of values whose parameters are the same, each in
/// the same place. O(parameters), for 32 of them a walk through all values; no heap.
template <class F, class Value, class... Others>
void walk_in_step(F& f, Value& value, Others&... others) {
    constexpr Index at_once = ParameterPlaces::at_once;
    std::array<ParameterPlaces, sizeof...(Others)> places;
    for (Index begin = 0, all = at_once; begin < all; begin += at_once) {
        [&]<std::size_t... o>(std::index_sequence<o...>) {
            (places[o].note(others, begin), ...);
            Index i = 0;
            const auto each = [&](const ParameterName& name, auto& member) {
                using Member = std::remove_const_t<std::remove_reference_t<decltype(member)>>;
                if (begin <= i && i < begin + at_once)
                    f(name, member,
                      *static_cast<std::conditional_t<std::is_const_v<Others>, const Member, Member>*>(
                          const_cast<void*>(places[o][i - begin].member))...);
                ++i;
            };
            walk_members(value, {}, each);
            all = i;
        }(std::index_sequence_for<Others...>());
    }
}

/// Throws unless `other` has the parameters that `value` has, in the same shapes and, if it is of the same type, of the
/// same types: `who` and `hint` stand around what is said, and `f(matrix, name)` may have something to say of each. No
/// heap; O(parameters).
template <class Value, class Other, class F>
void check_same_parameters(const Value& value, const Other& other, std::string_view who, std::string_view hint,
                           const F& f) {
    constexpr Index at_once = ParameterPlaces::at_once;
    ParameterPlaces wanted;
    for (Index begin = 0, all = at_once; begin < all; begin += at_once) {
        all = wanted.note(value, begin);
        Index i = 0;
        const auto compare = [&](const ParameterName& name, const auto& member) {
            if (begin <= i && i < begin + at_once) {
                const ParameterPlace has = ParameterPlaces::place_of(member), &w = wanted[i - begin];
                const bool alike = i < all && has.rows == w.rows && has.columns == w.columns;
                if (!alike && i < all)
                    refuse(who, named(name.text(), has.rows, has.columns), " must be ", w.rows, "x", w.columns,
                           ", as the parameter is", hint);
                if (std::is_same_v<Value, Other> && i < all && has.type != w.type)
                    refuse(who, named(name.text(), has.rows, has.columns), " stands in another one's place", hint);
                if (i < all) f(as_matrix(member), name);
            }
            ++i;
        };
        walk_members(other, {}, compare);
        if (i != all) refuse(who, "has ", i, " parameters for ", all, hint);
    }
}

/// to += from, parameter by parameter, of two values whose parameters have the same shapes.
template <class Value>
void add_parameters(Value& from, Value& to) {
    const auto add = [](const ParameterName&, auto& sum, auto& term) { as_matrix(sum) += as_matrix(term); };
    walk_in_step(add, to, from);
}

/// `f` of values that are checked against the first.
template <class F, class Value, class... Others>
void visit_in_step(F& f, Value& value, Others&... others) {
    constexpr bool one_type = (std::is_same_v<std::remove_const_t<Value>, std::remove_const_t<Others>> && ...);
    static_assert(one_type, "attend: values that are visited in step must be of one type");
    if constexpr (one_type) {
        const auto nothing = [](const auto&, const ParameterName&) {};
        Index number = 1;
        (check_same_parameters(std::as_const(value), std::as_const(others),
                               words("visit_parameters: value ", ++number, ": "), " in the first value", nothing),
         ...);
        const auto each = [&f](const ParameterName& name, auto&... members) {
            const auto call = [&](auto&&... matrices) { f(std::string_view(name.text()), matrices...); };
            call(as_matrix(members)...);
        };
        walk_in_step(each, value, others...);
    }
}

}  // namespace detail

/// Calls `visit(std::string_view name, auto& matrix, auto& matrix_of_second, …)` for every parameter of two or more
/// values of one type, in step: `visit_parameters(block, gradient, first_moment, second_moment, visit)`. Some of them
/// may be const. Throws `std::invalid_argument`, before the first visit, unless all have the same parameters in the
/// same shapes.
template <class Value, class Second, class Third, class... More>
void visit_parameters(Value& value, Second&& second, Third&& third, More&&... more) {
    // The visitor stands last.
    auto all = std::forward_as_tuple(value, second, third, more...);
    [&]<std::size_t... i>(std::index_sequence<i...>) {
        detail::visit_in_step(std::get<sizeof...(i)>(all), std::get<i>(all)...);
    }(std::make_index_sequence<2 + sizeof...(More)>());
}

/// average += rate · (value − average), parameter by parameter: an exponential moving average of weights, of which
/// evaluation has less noise (Polyak and Juditsky 1992; rate 0.001 is common, and 1/t for the t-th value gives the mean
/// of all). Computed in the parameters' scalar, of 16 bits in float and rounded: there the average stands still where
/// it moves by less than half a unit in the last place. Throws `std::invalid_argument`, before anything is written,
/// unless both have the same parameters, in memory of their own, and the rate is from 0 to 1. O(parameters).
template <class Value>
void average_parameters(Value& average, const Value& value, double rate) {
    detail::require(rate >= 0 && rate <= 1, "average_parameters: the rate must be from 0 to 1, got ", rate);
    detail::check_same_parameters(value, std::as_const(average),
                                  "average_parameters: average: ", ": begin with a copy of the value",
                                  [](const auto&, const auto&) {});
    const auto apart = [](const detail::ParameterName& name, const auto& of_average, const auto& of_value) {
        const auto &a = detail::as_matrix(of_average), &v = detail::as_matrix(of_value);
        if (a.size() > 0 && a.data() == v.data())
            detail::refuse("average_parameters: ", name.text(), " of the average is the value's own memory");
    };
    detail::walk_in_step(apart, std::as_const(average), value);
    const auto move = [rate](const detail::ParameterName&, auto& of_average, const auto& of_value) {
        auto&& a = detail::as_matrix(of_average);
        const auto& v = detail::as_matrix(of_value);
        using T = typename std::remove_cvref_t<decltype(a)>::Scalar;
        using C = Compute<T>;
        a = (a.template cast<C>() + static_cast<C>(rate) * (v.template cast<C>() - a.template cast<C>()))
                .template cast<T>();
    };
    detail::walk_in_step(move, average, value);
}

}  // namespace attend

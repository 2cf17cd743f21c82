#pragma once
/// \file
/// What is composed, as one writes it: "scaled_dot_product >> alibi(0.125) >> causal >> softmax".

#include <algorithm>
#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

struct Spelling;

/// A value that says how it is spelled.
template <class X>
concept Spelled = requires(const X& x, const Spelling& say) { x.spelled(say); };

}  // namespace detail

/// A part, an attention, a mixer or a block as one writes it: numbers by as many digits as tell them from all others,
/// matrices by their shapes, lists of more than 16 by their length. Where nothing stands for a matrix, a seed or a
/// formula, the text compiles when it is pasted, and makes the same value. O(length of the text).
///
/// A part says how it is spelled by `auto spelled(const auto& say) const { return say("alibi", slope); }`; see
/// `detail::Spelling` for what else there is to say. One of yours may have that, or a `to_string` of its own beside it.
/// Of one with neither there is a word: score, modifier, mask, normalizer, engine or source.
template <class X>
    requires(Functor<X> || detail::Spelled<X>)
std::string to_string(const X& x);

namespace detail {

/// A decimal of as few digits as are read back as this number, with a point in every locale.
template <std::floating_point T>
std::string shortest(T number) {
    char digits[64];
    for (int precision = 6; precision <= 17; ++precision) {
        std::snprintf(digits, sizeof digits, "%.*g", precision, static_cast<double>(number));
        if (static_cast<T>(std::strtod(digits, nullptr)) == number) break;
    }
    std::string text = digits;
    std::replace(text.begin(), text.end(), ',', '.');
    return text;
}

/// What a part's `spelled` is given: it makes words of what it is told.
struct Spelling {
    /// `name`, or with arguments `name(a, b)`. Those that are text stand as they are; empty ones are left out.
    template <class... Arguments>
    std::string operator()(std::string_view name, const Arguments&... arguments) const {
        std::string text(name);
        if constexpr (sizeof...(Arguments) > 0) text += "(" + join(", ", arguments...) + ")";
        return text;
    }
    /// What is not empty, with `between` in between.
    template <class... Parts>
    std::string join(std::string_view between, const Parts&... parts) const {
        std::string all;
        for (const std::string& part : std::initializer_list<std::string>{text_of_part(parts)...}) {
            if (!all.empty() && !part.empty()) all += between;
            all += part;
        }
        return all;
    }
    /// `type{.a = 1, .b = 2}` of what `field` gives.
    template <class... Fields>
    std::string record(std::string_view type, const Fields&... fields) const {
        return std::string(type) + "{" + join(", ", fields...) + "}";
    }
    /// An argument that need not be told: nothing where it is what it would be anyway.
    template <class Value>
    std::string when(bool is_told, const Value& value) const {
        return is_told ? text_of_part(value) : std::string();
    }
    /// `.name = value`, likewise.
    template <class Value>
    std::string field(bool is_told, std::string_view name, const Value& value) const {
        return is_told ? "." + std::string(name) + " = " + text_of_part(value) : std::string();
    }
    /// `name<float>`.
    template <class T>
    std::string of(std::string_view name, T) const {
        constexpr std::string_view scalar = std::is_same_v<T, float>             ? "float"
                                            : std::is_same_v<T, double>          ? "double"
                                            : std::is_same_v<T, Eigen::half>     ? "Eigen::half"
                                            : std::is_same_v<T, Eigen::bfloat16> ? "Eigen::bfloat16"
                                                                                 : "T";
        return std::string(name).append("<").append(scalar).append(">");
    }

private:
    template <class X>
    static std::string text_of_part(const X& x) {
        if constexpr (std::is_convertible_v<const X&, std::string_view>) {
            return std::string(std::string_view(x));
        } else if constexpr (std::is_same_v<X, bool>) {
            return x ? "true" : "false";
        } else if constexpr (std::is_integral_v<X>) {
            return std::to_string(x);
        } else if constexpr (std::is_floating_point_v<X>) {
            return shortest(x);
        } else if constexpr (requires { x.derived(); }) {
            return text_of(shape_words(1, 1, x.rows(), x.cols()));
        } else if constexpr (requires { x.sequence_stride; }) {
            return text_of(shape_words(x.sequences, x.heads, x.rows, x.columns));
        } else if constexpr (requires { x.has_value(); }) {
            return text_of_part(*x);
        } else if constexpr (requires { x.size(), x.begin(), x.end(); }) {
            if (x.size() > 16) return text_of(shape_words(1, 1, static_cast<Index>(x.size()), 1));
            std::string list;
            for (const auto& each : x) (list += list.empty() ? "" : ", ") += text_of_part(each);
            return "{" + list + "}";
        } else if constexpr (requires { to_string(x); }) {
            return to_string(x);
        } else {
            return "mixer";  // nothing else stands inside another part without a kind
        }
    }
};

}  // namespace detail

template <class X>
    requires(Functor<X> || detail::Spelled<X>)
std::string to_string(const X& x) {
    if constexpr (detail::Spelled<X>) {
        return x.spelled(detail::Spelling());
    } else {
        constexpr std::string_view words[] = {"score", "modifier", "mask", "normalizer", "engine", "source"};
        return std::string(words[static_cast<std::size_t>(X::kind)]);
    }
}

}  // namespace attend

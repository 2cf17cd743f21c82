#pragma once
/// \file
/// Errors: one text, thrown where exceptions are on, printed before an abort where they are off.

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <attend/core/types.hpp>

namespace attend::detail {

/// A shape as errors say it: `128x32`, or with more than one sequence or head
/// `2 sequences x 8 heads x 128 rows x 32 columns`. Words are made only where an error is: a call that is right pays
/// nothing.
struct ShapeWords {
    Index sequences, heads, rows, columns;
};
constexpr ShapeWords shape_words(Index sequences, Index heads, Index rows, Index columns) {
    return {sequences, heads, rows, columns};
}

/// An operand as errors name it: `k (128x32)`.
struct Named {
    std::string_view name;
    ShapeWords shape;
};
constexpr Named named(std::string_view name, Index rows, Index columns) { return {name, {1, 1, rows, columns}}; }

inline void append(std::string& text, std::string_view part) { text += part; }
template <class Number>
    requires std::is_arithmetic_v<Number>
void append(std::string& text, Number number) {
    if constexpr (std::is_integral_v<Number>) {
        text += std::to_string(number);
    } else {
        char digits[32];
        std::snprintf(digits, sizeof digits, "%g", static_cast<double>(number));
        text += digits;
    }
}
inline void append(std::string& text, const ShapeWords& shape);
inline void append(std::string& text, const Named& operand);

/// Joins words and numbers: `words("k (", 3, " rows)")`.
template <class... Parts>
std::string words(const Parts&... parts) {
    std::string text;
    (append(text, parts), ...);
    return text;
}

inline void append(std::string& text, const ShapeWords& shape) {
    const auto& [sequences, heads, rows, columns] = shape;
    text += sequences == 1 && heads == 1
                ? words(rows, "x", columns)
                : words(sequences, " sequences x ", heads, " heads x ", rows, " rows x ", columns, " columns");
}
inline void append(std::string& text, const Named& operand) { text += words(operand.name, " (", operand.shape, ")"); }

template <class Exception, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    const std::string text = words("attend: ", parts...);
#if ATTEND_HAS_EXCEPTIONS
    throw Exception(text);
#else
    std::fprintf(stderr, "%s\n", text.c_str());
    std::abort();
#endif
}

/// Throws `std::invalid_argument` saying `parts` unless `condition` holds.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) [[unlikely]]
        fail<std::invalid_argument>(parts...);
}

}  // namespace attend::detail

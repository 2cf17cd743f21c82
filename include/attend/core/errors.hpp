#pragma once
/// \file
/// Errors: one text, thrown where exceptions are on, printed before an abort where they are off.

#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A shape as errors say it: `128x32`, `8 heads x 128x32` or `2 sequences x 8 heads x 128x32`: what there is one of
/// goes without saying. Words are made only where an error is: a call that is right pays nothing.
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

/// A part of an error's text. One type for all, so that an error costs its callers next to nothing to compile.
struct Word {
    enum class Kind { text, integer, number, shape, operand } kind;
    Named value{};
    Index integer = 0;
    double number = 0;

    Word(std::string_view text) : kind(Kind::text), value{text, {}} {}
    Word(const char* text) : Word(std::string_view(text)) {}
    Word(const std::string& text) : Word(std::string_view(text)) {}
    template <std::integral T>
    Word(T x) : kind(Kind::integer), integer(static_cast<Index>(x)) {}
    template <std::floating_point T>
    Word(T x) : kind(Kind::number), number(static_cast<double>(x)) {}
    Word(const ShapeWords& shape) : kind(Kind::shape), value{{}, shape} {}
    Word(const Named& operand) : kind(Kind::operand), value(operand) {}
};

inline std::string text_of(const ShapeWords& shape) {
    std::string text;
    if (shape.sequences != 1) text += std::to_string(shape.sequences) + " sequences x ";
    if (shape.heads != 1) text += std::to_string(shape.heads) + " heads x ";
    return text + std::to_string(shape.rows) + "x" + std::to_string(shape.columns);
}
inline std::string text_of(const Word& word) {
    switch (word.kind) {
        case Word::Kind::text:
            return std::string(word.value.name);
        case Word::Kind::integer:
            return std::to_string(word.integer);
        case Word::Kind::shape:
            return text_of(word.value.shape);
        case Word::Kind::operand:
            return std::string(word.value.name) + " (" + text_of(word.value.shape) + ")";
        case Word::Kind::number:
            break;
    }
    char digits[32];
    std::snprintf(digits, sizeof digits, "%g", word.number);
    return digits;
}
inline std::string joined(std::initializer_list<Word> parts) {
    std::string text;
    for (const Word& part : parts) text += text_of(part);
    return text;
}
/// Joins words and numbers: `words("k (", 3, " rows)")`.
template <class... Parts>
std::string words(const Parts&... parts) {
    return joined({Word(parts)...});
}

template <class Exception>
[[noreturn]] void fail_saying(std::initializer_list<Word> parts) {
    const std::string text = "attend: " + joined(parts);
#if ATTEND_HAS_EXCEPTIONS
    throw Exception(text);
#else
    std::fprintf(stderr, "%s\n", text.c_str());
    std::abort();
#endif
}
template <class Exception, class... Parts>
[[noreturn]] ATTEND_NOINLINE void fail(const Parts&... parts) {
    fail_saying<Exception>({Word(parts)...});
}

/// Throws `std::invalid_argument` saying `parts`. What every call checks it checks by `if (…) refuse(…)`: before
/// `require` looks at its condition its parts are made, and of a small call those were a quarter of the time.
template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    fail<std::invalid_argument>(parts...);
}

/// Throws `std::invalid_argument` saying `parts` unless `condition` holds.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) [[unlikely]]
        refuse(parts...);
}

}  // namespace attend::detail

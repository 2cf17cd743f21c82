#pragma once
/// \file
/// The little of JSON that headers of tensor files are made of, read strictly and written.

#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>

#include <attend/core/errors.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A piece of a foreign text, as an error shows it: not at any length, and without what a terminal would obey.
inline std::string in_quotes(std::string_view text) {
    constexpr std::size_t most = 100;
    std::string quoted = "'";
    quoted.append(text.substr(0, most)).append(text.size() > most ? "...'" : "'");
    for (char& c : quoted) {
        if (static_cast<unsigned char>(c) < 0x20U || c == '\x7f') c = '?';
    }
    return quoted;
}

/// How many bytes the character at the front of a text has in UTF-8; 0 where it is none.
inline std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
    const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
    const unsigned first = byte(0), second = byte(1);
    if (first < 0x80U) return text.empty() ? 0 : 1;
    if (first < 0xC2U || first > 0xF4U || !follows(1)) return 0;
    if (first < 0xE0U) return 2;
    // Neither longer than needed, nor half of a pair, nor beyond the last character.
    if ((first == 0xE0U && second < 0xA0U) || (first == 0xEDU && second > 0x9FU) || !follows(2)) return 0;
    if (first < 0xF0U) return 3;
    if ((first == 0xF0U && second < 0x90U) || (first == 0xF4U && second > 0x8FU) || !follows(3)) return 0;
    return 4;
}

inline bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

inline void append_utf8(std::uint32_t character, std::string& to) {
    const auto put = [&](std::uint32_t byte) { to += static_cast<char>(static_cast<unsigned char>(byte)); };
    if (character < 0x80U) return put(character);
    if (character < 0x800U) {
        put(0xC0U | (character >> 6U));
    } else if (character < 0x10000U) {
        put(0xE0U | (character >> 12U)), put(0x80U | ((character >> 6U) & 0x3FU));
    } else {
        put(0xF0U | (character >> 18U)), put(0x80U | ((character >> 12U) & 0x3FU));
        put(0x80U | ((character >> 6U) & 0x3FU));
    }
    put(0x80U | (character & 0x3FU));
}

/// Reads a JSON text from its front. What the reader asks for must stand there; no part of it calls itself, so that no
/// text, however nested, takes more of the stack than another. Throws `std::invalid_argument` that begins with `where`.
class JsonText {
public:
    JsonText(std::string_view text, std::string_view where) : text_(text), where_(where) {}

    /// Calls `member(key)` for each member of the object that stands next, which must read its value.
    template <class Member>
    void object(const Member& member) {
        list('{', '}', [&] {
            const std::string key = string();
            expect(':');
            member(key);
        });
    }
    /// Calls `element()` for each element of the array that stands next, which must read it.
    template <class Element>
    void array(const Element& element) {
        list('[', ']', element);
    }
    std::string string() {
        expect('"');
        std::string read;
        for (;;) {
            if (at_ == text_.size()) refuse_here("a string does not end");
            const char c = text_[at_];
            if (c == '"') return ++at_, read;
            if (c == '\\') {
                ++at_;
                escape(read);
                continue;
            }
            if (static_cast<unsigned char>(c) < 0x20U) refuse_here("a string holds a control character");
            const std::size_t length = utf8_length(text_.substr(at_));
            if (length == 0) refuse_here("a string is no UTF-8");
            read.append(text_.substr(at_, length));
            at_ += length;
        }
    }
    /// A whole number without sign, fraction or exponent, of 64 bits.
    std::uint64_t number() {
        skip_spaces();
        const std::size_t first = at_;
        std::uint64_t value = 0;
        for (; at_ < text_.size() && '0' <= text_[at_] && text_[at_] <= '9'; ++at_) {
            const auto digit = static_cast<std::uint64_t>(text_[at_] - '0');
            if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10)
                refuse_here("a number has more than 64 bits");
            value = 10 * value + digit;
        }
        if (at_ == first) refuse_here("a whole number, not negative, must stand there");
        if (at_ - first > 1 && text_[first] == '0') refuse_here("a number begins with 0");
        return value;
    }
    /// Nothing but spaces may be left.
    void end() {
        skip_spaces();
        if (at_ != text_.size()) refuse_here("something follows what is known of the format");
    }
    [[noreturn]] void refuse_here(std::string_view why) const {
        refuse(where_, ": the header is malformed at its byte ", at_, ": ", why);
    }

private:
    void skip_spaces() {
        while (at_ < text_.size() &&
               (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
            ++at_;
    }
    bool take(char wanted) {
        skip_spaces();
        if (at_ == text_.size() || text_[at_] != wanted) return false;
        return ++at_, true;
    }
    void expect(char wanted) {
        if (!take(wanted)) refuse_here(std::string("'") + wanted + "' must stand there");
    }
    template <class Each>
    void list(char open, char close, const Each& each) {
        expect(open);
        if (take(close)) return;
        do each();
        while (take(','));
        expect(close);
    }
    void escape(std::string& to) {
        const char c = at_ < text_.size() ? text_[at_++] : '\0';
        constexpr std::string_view names = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
        if (c == 'u') return append_utf8(escaped_character(), to);
        const std::size_t which = c == '\0' ? std::string_view::npos : names.find(c);
        if (which == std::string_view::npos) refuse_here("a string has an escape that JSON does not know");
        to += meant[which];
    }
    /// Characters beyond 16 bits come as two escapes.
    std::uint32_t escaped_character() {
        const std::uint32_t first = four_digits();
        if (first < 0xD800U || first > 0xDFFFU) return first;
        if (first < 0xDC00U && text_.substr(at_, 2) == "\\u") {
            at_ += 2;
            const std::uint32_t second = four_digits();
            if (0xDC00U <= second && second <= 0xDFFFU)
                return 0x10000U + ((first - 0xD800U) << 10U) + (second - 0xDC00U);
        }
        refuse_here("a string has half of a pair of escapes");
    }
    std::uint32_t four_digits() {
        std::uint32_t value = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            constexpr std::string_view digits = "0123456789abcdef";
            const char c = at_ < text_.size() ? text_[at_] : '\0';
            const char lower = 'A' <= c && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
            const std::size_t digit = lower == '\0' ? std::string_view::npos : digits.find(lower);
            if (digit == std::string_view::npos) refuse_here("a string has an escape without four hexadecimal digits");
            value = 16 * value + static_cast<std::uint32_t>(digit);
        }
        return value;
    }

    std::string_view text_, where_;
    std::size_t at_ = 0;
};

/// A string as JSON writes it.
inline std::string json_string(std::string_view text) {
    std::string written = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            (written += '\\') += c;
        } else if (static_cast<unsigned char>(c) < 0x20U) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
            written += escaped;
        } else {
            written += c;
        }
    }
    return written += '"';
}

}  // namespace attend

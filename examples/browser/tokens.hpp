#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace browser {

/// A word, a number or a mark of punctuation: where it stands in the text, and how it reads in small letters.
struct Token {
    int begin, end;  ///< bytes of the text
    std::string letters;

    bool is_mark() const { return !is_letter(letters.front()); }

    /// All of UTF-8 beyond ASCII counts as letters.
    static bool is_letter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '\'' ||
               (c & 0x80) != 0;
    }
};

/// The first `most` tokens of a text.
inline std::vector<Token> tokens(std::string_view text, std::size_t most) {
    std::vector<Token> found;
    std::size_t at = 0;
    while (at < text.size() && found.size() < most) {
        const std::size_t begin = at++;
        if (static_cast<unsigned char>(text[begin]) <= ' ') continue;
        if (Token::is_letter(text[begin])) {
            while (at < text.size() && Token::is_letter(text[at])) ++at;
        }
        std::string letters(text.substr(begin, at - begin));
        for (char& c : letters) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
        found.push_back({static_cast<int>(begin), static_cast<int>(at), std::move(letters)});
    }
    return found;
}

}  // namespace browser

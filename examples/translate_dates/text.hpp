#pragma once

#include "../support/layers.hpp"

#include <Eigen/Core>

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// Characters as numbers: what the model reads and writes.
namespace translate_dates {

/// What both examples need: optimiser, layers, weights file, terminal, ...
using namespace support;

using Index = Eigen::Index;
using Tokens = std::vector<Index>;

inline constexpr std::string_view input_alphabet = " ',-./0123456789abcdefghijklmnopqrstuvwxyz";
/// The digits and the hyphen of an ISO date, then the letters of "not a date".
inline constexpr std::string_view output_alphabet = "0123456789-not ade";
/// Stands before the first character of every answer.
inline constexpr Index start_token = static_cast<Index>(output_alphabet.size());
inline constexpr Index answer_length = 10;
inline constexpr std::size_t longest_text = 48;

inline char lower_case(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// The text without blanks at its ends, and with one blank wherever there were several.
inline std::string tidy(std::string_view text) {
    std::string result;
    for (const char c : text) {
        const bool blank = c == ' ' || (c >= '\t' && c <= '\r');
        if (!blank)
            result += c;
        else if (!result.empty() && result.back() != ' ')
            result += ' ';
    }
    if (!result.empty() && result.back() == ' ') result.pop_back();
    return result;
}

inline Index token_of(char c, std::string_view alphabet) {
    const std::size_t place = alphabet.find(c);
    if (place == std::string_view::npos) throw std::invalid_argument(std::string("no such character: ") + c);
    return static_cast<Index>(place);
}

}  // namespace translate_dates

#pragma once

#include "translation.hpp"

#include <ostream>

/// The alignment as a heat map in a terminal: a column for each character read, a row for each one written.
namespace translate_dates {

namespace detail {

/// From dark violet over red to pale yellow, in the terminal's 256 colours.
inline constexpr std::array heat_colours{233, 53, 89, 125, 161, 197, 203, 209, 215, 221, 228, 230};
inline constexpr std::array<std::string_view, 5> shades{" ", "░", "▒", "▓", "█"};

/// The step of `steps` equal ones that a weight from 0 to 1 falls into.
inline std::size_t step_of(float weight, std::size_t steps) {
    return std::min(steps - 1, static_cast<std::size_t>(weight * static_cast<float>(steps)));
}

}  // namespace detail

inline void print_heat_map(std::ostream& out, const Translation& translation, bool colours) {
    constexpr std::size_t wide_texts = 36;  // beyond, two columns a character would not fit 80 columns
    const int width = translation.text.size() > wide_texts ? 1 : 2;
    const auto cell = [&](std::string_view left, std::string_view right) {
        out << left;
        if (width == 2) out << right;
    };

    out << "      ";
    for (const char c : translation.text) cell(std::string(1, c), " ");
    out << "\n";
    for (Index row = 0; row < translation.weights.rows(); ++row) {
        out << "   " << translation.answer[static_cast<std::size_t>(row)] << "  ";
        for (Index column = 0; column < translation.weights.cols(); ++column) {
            const float weight = translation.weights(row, column);
            if (colours) {
                out << "\x1b[48;5;" << detail::heat_colours[detail::step_of(weight, detail::heat_colours.size())]
                    << "m";
                cell(" ", " ");
            } else {
                const std::string_view shade = detail::shades[detail::step_of(weight, detail::shades.size())];
                cell(shade, shade);
            }
        }
        out << (colours ? "\x1b[0m\n" : "\n");
    }

    out << "      weight 0 ";
    if (colours) {
        for (const int colour : detail::heat_colours) out << "\x1b[48;5;" << colour << "m ";
        out << "\x1b[0m";
    } else {
        for (const std::string_view shade : detail::shades) out << shade << shade;
    }
    out << " 1\n";
}

}  // namespace translate_dates

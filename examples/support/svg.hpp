#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <iomanip>
#include <ostream>
#include <string>
#include <string_view>

/// What the examples' SVG pictures share: the colours of weights, the letters, the frame.
namespace support::svg {

struct Colour {
    double red, green, blue;
};

/// Light to dark, so that a printed page shows the order too.
inline constexpr std::array<Colour, 5> picture_colours{Colour{243, 246, 249}, Colour{184, 213, 232},
                                                       Colour{99, 164, 206}, Colour{33, 106, 165}, Colour{9, 43, 94}};

inline std::string hex(const Colour& colour) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = "#";
    for (const double part : {colour.red, colour.green, colour.blue}) {
        const auto value = static_cast<unsigned>(std::lround(part));
        text += digits[value / 16];
        text += digits[value % 16];
    }
    return text;
}

inline Colour colour_of(double weight) {
    const double place = std::clamp(weight, 0.0, 1.0) * static_cast<double>(picture_colours.size() - 1);
    const std::size_t below = std::min(static_cast<std::size_t>(place), picture_colours.size() - 2);
    const double part = place - static_cast<double>(below);
    const Colour& a = picture_colours[below];
    const Colour& b = picture_colours[below + 1];
    return {a.red + part * (b.red - a.red), a.green + part * (b.green - a.green), a.blue + part * (b.blue - a.blue)};
}

/// A character as it may stand in a picture: markup's own signs written out, blanks made visible.
inline std::string visible(std::string_view character) {
    if (character == "&") return "&amp;";
    if (character == "<") return "&lt;";
    if (character == ">") return "&gt;";
    if (character == " ") return "␣";
    if (character == "\n") return "↵";
    return character.size() == 1 && static_cast<unsigned char>(character[0]) < 0x20 ? "·" : std::string(character);
}

/// A matrix of weights from 0 to 1, a square of `cell` each.
template <class Weights>
void draw_cells(std::ostream& out, const Weights& weights, int cell) {
    const int rows = static_cast<int>(weights.rows()), columns = static_cast<int>(weights.cols());
    const int right = columns * cell;
    const int foot = rows * cell;
    out << "<rect width='" << right << "' height='" << foot << "' fill='" << hex(colour_of(0)) << "'/>\n";
    for (int row = 0; row < rows; ++row) {
        for (int column = 0; column < columns; ++column) {
            const std::string fill = hex(colour_of(static_cast<double>(weights(row, column))));
            if (fill == hex(colour_of(0))) continue;  // the background shows it
            out << "<rect x='" << column * cell << "' y='" << row * cell << "' width='" << cell << "' height='" << cell
                << "' fill='" << fill << "'/>\n";
        }
    }
    out << "<path class='grid' d='";
    for (int row = 1; row < rows; ++row) out << "M0 " << row * cell << "h" << right;
    for (int column = 1; column < columns; ++column) out << "M" << column * cell << " 0v" << foot;
    out << "'/>\n";
}

/// The scale of all panels, its top left corner at (0, 0).
inline void draw_colour_bar(std::ostream& out, int height) {
    constexpr int width = 16;
    out << "<defs><linearGradient id='scale' x1='0' y1='1' x2='0' y2='0'>";
    for (std::size_t i = 0; i < picture_colours.size(); ++i)
        out << "<stop offset='" << static_cast<double>(i) / static_cast<double>(picture_colours.size() - 1)
            << "' stop-color='" << hex(picture_colours[i]) << "'/>";
    out << "</linearGradient></defs>\n<rect class='bar' width='" << width << "' height='" << height << "'/>\n";
    for (int quarter = 0; quarter <= 4; ++quarter) {
        const int y = height - quarter * height / 4;
        out << "<path class='tick' d='M" << width << " " << y << "h5'/><text class='number' x='" << width + 9 << "' y='"
            << y + 4 << "'>" << std::fixed << std::setprecision(2) << quarter * 0.25 << "</text>\n";
    }
    out << "<text class='axis' transform='translate(" << width + 56 << " " << height / 2
        << ") rotate(-90)'>weight</text>\n";
}

/// Opens a picture of that size, white, with a title that is not drawn; `more_style` joins the common style sheet.
inline void open(std::ostream& out, int width, int height, std::string_view title, std::string_view more_style = "") {
    out << "<svg xmlns='http://www.w3.org/2000/svg' width='" << width << "' height='" << height << "' viewBox='0 0 "
        << width << " " << height << "'>\n<title>" << title << "</title>\n"
        << "<style>text{font-family:'DejaVu Sans',Verdana,Helvetica,Arial,sans-serif;fill:#1f2933}"
           ".title{font-size:17px;font-weight:bold}.heading{font-size:14px}.axis{font-size:13px;fill:#52606d;text-"
           "anchor:middle}"
           ".label{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:15px;text-anchor:middle}"
           ".number{font-size:12px}.grid{stroke:#fff;stroke-width:1;fill:none}.tick{stroke:#52606d}"
           ".bar{fill:url(#scale);stroke:#9aa5b1}"
        << more_style << "</style>\n<rect width='100%' height='100%' fill='#fff'/>\n";
}
inline void close(std::ostream& out) { out << "</svg>\n"; }

}  // namespace support::svg

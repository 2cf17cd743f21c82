#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <iomanip>
#include <ostream>
#include <string>
#include <string_view>

/// What the examples' SVG pictures share: colours, letters, the frame.
namespace support::svg {

struct Colour {
    double red, green, blue;
};

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

/// A text as it may stand in a picture: markup's own signs written out.
inline std::string escaped(std::string_view text) {
    std::string all;
    for (const char c : text) {
        if (c == '&')
            all += "&amp;";
        else if (c == '<')
            all += "&lt;";
        else if (c == '>')
            all += "&gt;";
        else
            all += c;
    }
    return all;
}

/// The same of a label, in which what cannot be seen shows.
inline std::string visible(std::string_view label) {
    if (label == " ") return "␣";
    if (label == "\n") return "↵";
    return label.size() == 1 && static_cast<unsigned char>(label[0]) < 0x20 ? "·" : escaped(label);
}

/// Opens a picture of that size, white, with a title that is not drawn; `more_style` joins the common style sheet.
inline void open(std::ostream& out, int width, int height, std::string_view title, std::string_view more_style = "") {
    out << "<svg xmlns='http://www.w3.org/2000/svg' width='" << width << "' height='" << height << "' viewBox='0 0 "
        << width << " " << height << "'>\n<title>" << escaped(title) << "</title>\n"
        << "<style>text{font-family:'DejaVu Sans',Verdana,Helvetica,Arial,sans-serif;fill:#1f2933}"
           ".title{font-size:17px;font-weight:bold}.heading{font-size:14px}.axis{font-size:13px;fill:#52606d;text-"
           "anchor:middle}"
           ".label{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace}"
           ".number{font-size:12px}.grid{stroke:#fff;stroke-width:1;fill:none}.tick{stroke:#52606d}"
           ".bar{fill:url(#scale);stroke:#9aa5b1}"
        << more_style << "</style>\n<rect width='100%' height='100%' fill='#fff'/>\n";
}
inline void close(std::ostream& out) { out << "</svg>\n"; }

}  // namespace support::svg

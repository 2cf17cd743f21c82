#pragma once

#include "translation.hpp"

#include <iomanip>
#include <ostream>

/// The alignments as an SVG picture: a panel for each translation and one colour bar for all.
namespace translate_dates {

namespace detail {

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

/// One translation drawn by SVG elements, its top left corner at (0, 0).
class Panel {
public:
    static constexpr int cell = 22;
    static constexpr int letter = 9;   // at most, on average, of the title
    static constexpr int left = 62;    // for the row labels and the name of that axis
    static constexpr int top = 34;     // for the title
    static constexpr int bottom = 58;  // for the column labels and the name of that axis
    static constexpr int rows = static_cast<int>(answer_length);
    static constexpr int height = top + rows * cell + bottom;

    explicit Panel(const Translation& translation) : translation_(translation) {}

    int columns() const { return static_cast<int>(translation_.weights.cols()); }
    int width() const { return left + std::max(columns() * cell, letter * heading_length()); }

    void draw(std::ostream& svg) const {
        svg << "<text class='heading' x='" << left << "' y='20'>" << translation_.text << " → " << translation_.answer
            << "</text>\n";
        svg << "<g transform='translate(" << left << " " << top << ")'>\n";
        draw_cells(svg);
        draw_labels(svg);
        svg << "</g>\n";
    }

private:
    int heading_length() const { return static_cast<int>(translation_.text.size() + translation_.answer.size()) + 3; }

    static std::string visible(char c) { return c == ' ' ? "␣" : std::string(1, c); }

    void draw_cells(std::ostream& svg) const {
        const int right = columns() * cell;
        const int foot = rows * cell;
        svg << "<rect width='" << right << "' height='" << foot << "' fill='" << hex(colour_of(0)) << "'/>\n";
        for (int row = 0; row < rows; ++row) {
            for (int column = 0; column < columns(); ++column) {
                const std::string fill = hex(colour_of(translation_.weights(row, column)));
                if (fill == hex(colour_of(0))) continue;  // the background shows it
                svg << "<rect x='" << column * cell << "' y='" << row * cell << "' width='" << cell << "' height='"
                    << cell << "' fill='" << fill << "'/>\n";
            }
        }
        svg << "<path class='grid' d='";
        for (int row = 1; row < rows; ++row) svg << "M0 " << row * cell << "h" << right;
        for (int column = 1; column < columns(); ++column) svg << "M" << column * cell << " 0v" << foot;
        svg << "'/>\n";
    }

    void draw_labels(std::ostream& svg) const {
        const int foot = rows * cell;
        for (int row = 0; row < rows; ++row)
            svg << "<text class='label' x='-14' y='" << row * cell + 16 << "'>"
                << translation_.answer[static_cast<std::size_t>(row)] << "</text>\n";
        for (int column = 0; column < columns(); ++column)
            svg << "<text class='label' x='" << column * cell + cell / 2 << "' y='" << foot + 18 << "'>"
                << visible(translation_.text[static_cast<std::size_t>(column)]) << "</text>\n";
        svg << "<text class='axis' x='" << columns() * cell / 2 << "' y='" << foot + 40 << "'>input</text>\n";
        svg << "<text class='axis' transform='translate(-40 " << foot / 2 << ") rotate(-90)'>output</text>\n";
    }

    const Translation& translation_;
};

/// The scale of all panels, its top left corner at (0, 0).
inline void draw_colour_bar(std::ostream& svg, int height) {
    constexpr int width = 16;
    svg << "<defs><linearGradient id='scale' x1='0' y1='1' x2='0' y2='0'>";
    for (std::size_t i = 0; i < picture_colours.size(); ++i)
        svg << "<stop offset='" << static_cast<double>(i) / static_cast<double>(picture_colours.size() - 1)
            << "' stop-color='" << hex(picture_colours[i]) << "'/>";
    svg << "</linearGradient></defs>\n<rect class='bar' width='" << width << "' height='" << height << "'/>\n";
    for (int quarter = 0; quarter <= 4; ++quarter) {
        const int y = height - quarter * height / 4;
        svg << "<path class='tick' d='M" << width << " " << y << "h5'/><text class='number' x='" << width + 9 << "' y='"
            << y + 4 << "'>" << std::fixed << std::setprecision(2) << quarter * 0.25 << "</text>\n";
    }
    svg << "<text class='axis' transform='translate(" << width + 56 << " " << height / 2
        << ") rotate(-90)'>weight</text>\n";
}

}  // namespace detail

/// The panels stand side by side while they fit, then below each other.
inline void draw_picture(std::ostream& svg, const std::vector<Translation>& translations) {
    using detail::Panel;
    constexpr int margin = 24;
    constexpr int title_height = 48;
    constexpr int gap = 12;
    constexpr int bar_space = 104;
    constexpr int title_width = 580;
    constexpr int line_width = 760;

    struct Place {
        int x, y;
    };
    std::vector<Place> places;
    Place next{0, title_height};
    int width = 0;
    for (const Translation& translation : translations) {
        const Panel panel(translation);
        if (next.x > 0 && next.x + panel.width() > line_width) next = {0, next.y + Panel::height};
        places.push_back(next);
        next.x += panel.width() + gap;
        width = std::max(width, next.x - gap);
    }
    const int whole_width = std::max(margin + width + bar_space, title_width);
    const int whole_height = next.y + Panel::height;

    svg << "<svg xmlns='http://www.w3.org/2000/svg' width='" << whole_width << "' height='" << whole_height
        << "' viewBox='0 0 " << whole_width << " " << whole_height << "'>\n"
        << "<title>Alignment of dates and their ISO 8601 form by additive attention</title>\n"
        << "<style>text{font-family:'DejaVu Sans',Verdana,Helvetica,Arial,sans-serif;fill:#1f2933}"
           ".title{font-size:17px;font-weight:bold}.heading{font-size:14px}.axis{font-size:13px;fill:#52606d;text-"
           "anchor:middle}"
           ".label{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:15px;text-anchor:middle}"
           ".number{font-size:12px}.grid{stroke:#fff;stroke-width:1;fill:none}.tick{stroke:#52606d}"
           ".bar{fill:url(#scale);stroke:#9aa5b1}</style>\n"
        << "<rect width='100%' height='100%' fill='#fff'/>\n"
        << "<text class='title' x='" << margin + Panel::left << "' y='" << margin + 16
        << "'>Where each output character looks in the input</text>\n";
    for (std::size_t i = 0; i < translations.size(); ++i) {
        svg << "<g transform='translate(" << margin + places[i].x << " " << places[i].y << ")'>\n";
        Panel(translations[i]).draw(svg);
        svg << "</g>\n";
    }
    svg << "<g transform='translate(" << margin + width + gap << " " << title_height + Panel::top << ")'>\n";
    detail::draw_colour_bar(svg, Panel::cell * Panel::rows);
    svg << "</g>\n</svg>\n";
}

}  // namespace translate_dates

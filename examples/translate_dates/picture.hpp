#pragma once

#include "../support/svg.hpp"
#include "translation.hpp"

#include <iomanip>
#include <ostream>

/// The alignments as an SVG picture: a panel for each translation and one colour bar for all.
namespace translate_dates {

namespace detail {

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

    void draw(std::ostream& out) const {
        out << "<text class='heading' x='" << left << "' y='20'>" << translation_.text << " → " << translation_.answer
            << "</text>\n";
        out << "<g transform='translate(" << left << " " << top << ")'>\n";
        svg::draw_cells(out, translation_.weights, cell);
        draw_labels(out);
        out << "</g>\n";
    }

private:
    int heading_length() const { return static_cast<int>(translation_.text.size() + translation_.answer.size()) + 3; }

    void draw_labels(std::ostream& out) const {
        const int foot = rows * cell;
        for (int row = 0; row < rows; ++row)
            out << "<text class='label' x='-14' y='" << row * cell + 16 << "'>"
                << translation_.answer[static_cast<std::size_t>(row)] << "</text>\n";
        for (int column = 0; column < columns(); ++column)
            out << "<text class='label' x='" << column * cell + cell / 2 << "' y='" << foot + 18 << "'>"
                << svg::visible(std::string(1, translation_.text[static_cast<std::size_t>(column)])) << "</text>\n";
        out << "<text class='axis' x='" << columns() * cell / 2 << "' y='" << foot + 40 << "'>input</text>\n";
        out << "<text class='axis' transform='translate(-40 " << foot / 2 << ") rotate(-90)'>output</text>\n";
    }

    const Translation& translation_;
};

}  // namespace detail

/// The panels stand side by side while they fit, then below each other.
inline void draw_picture(std::ostream& out, const std::vector<Translation>& translations) {
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

    svg::open(out, whole_width, whole_height, "Alignment of dates and their ISO 8601 form by additive attention");
    out << "<text class='title' x='" << margin + Panel::left << "' y='" << margin + 16
        << "'>Where each output character looks in the input</text>\n";
    for (std::size_t i = 0; i < translations.size(); ++i) {
        out << "<g transform='translate(" << margin + places[i].x << " " << places[i].y << ")'>\n";
        Panel(translations[i]).draw(out);
        out << "</g>\n";
    }
    out << "<g transform='translate(" << margin + width + gap << " " << title_height + Panel::top << ")'>\n";
    svg::draw_colour_bar(out, Panel::cell * Panel::rows);
    out << "</g>\n";
    svg::close(out);
}

}  // namespace translate_dates

#pragma once

#include "../support/svg.hpp"
#include "model.hpp"

namespace transformer_lm {

/// Where every head of every block looks, as an SVG picture: a row of panels a block, a row of cells a character that
/// looks, a column a character that is looked at.
inline void draw_heads(std::ostream& out, const std::vector<std::string>& text, const std::vector<Rows<float>>& weights,
                       Index heads) {
    constexpr int cell = 8, left = 56, top = 78, gap = 30, bar_space = 104;
    const int side = cell * static_cast<int>(text.size());
    const int pitch = side + gap;
    const int width = left + static_cast<int>(heads) * pitch + bar_space;
    const int height = top + static_cast<int>(weights.size()) * pitch;

    svg::open(out, width, height, "Attention of every head of a small Transformer", ".small{font-size:8px}");
    out << "<text class='title' x='" << left
        << "' y='30'>Where each character (row) looks before it predicts the next "
           "one</text>\n";
    for (std::size_t block = 0; block < weights.size(); ++block) {
        for (Index head = 0; head < heads; ++head) {
            const int x = left + static_cast<int>(head) * pitch, y = top + static_cast<int>(block) * pitch;
            out << "<g transform='translate(" << x << " " << y << ")'>\n";
            if (block == 0) out << "<text class='axis' x='" << side / 2 << "' y='-22'>head " << head + 1 << "</text>\n";
            svg::draw_cells(
                out, weights[block].middleRows(head * static_cast<Index>(text.size()), static_cast<Index>(text.size())),
                cell);
            for (std::size_t i = 0; i < text.size(); ++i) {
                const int place = static_cast<int>(i) * cell;
                out << "<text class='label small' x='" << place + cell / 2 << "' y='-4'>" << svg::visible(text[i])
                    << "</text><text class='label small' x='-6' y='" << place + cell - 1 << "'>"
                    << svg::visible(text[i]) << "</text>\n";
            }
            out << "</g>\n";
        }
        out << "<text class='axis' transform='translate(24 " << top + static_cast<int>(block) * pitch + side / 2
            << ") rotate(-90)'>block " << block + 1 << "</text>\n";
    }
    out << "<g transform='translate(" << left + static_cast<int>(heads) * pitch << " " << top << ")'>\n";
    svg::draw_colour_bar(out, side);
    out << "</g>\n";
    svg::close(out);
}

}  // namespace transformer_lm

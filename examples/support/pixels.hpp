#pragma once

#include <cmath>
#include <map>
#include <ostream>
#include <string>
#include <string_view>

namespace support {

/// A grid of cells, its top left corner at (0, 0), each of the colour `colour_at(row, column)`. Cells of one colour are
/// a single path, in which runs along a row are a mark each: a photograph's worth of cells stays small.
template <class ColourAt>
void draw_pixels(std::ostream& out, int rows, int columns, int width, int height, const ColourAt& colour_at) {
    std::map<std::string, std::string> paths;
    for (int row = 0; row < rows; ++row) {
        for (int column = 0, end = 0; column < columns; column = end) {
            const std::string colour = colour_at(row, column);
            for (end = column + 1; end < columns && colour_at(row, end) == colour;) ++end;
            paths[colour] += "M" + std::to_string(column * width) + " " + std::to_string(row * height) + "h" +
                             std::to_string((end - column) * width) + "v" + std::to_string(height) + "h-" +
                             std::to_string((end - column) * width);
        }
    }
    for (const auto& [colour, path] : paths)
        out << "<path shape-rendering='crispEdges' fill='" << colour << "' d='" << path << "'/>\n";
}

/// A veil over the patches of a picture, in that colour, as thick as `opacity_of(patch)` from 0 to 1.
template <class Opacity>
void draw_veil(std::ostream& out, int patches_across, int patch, std::string_view colour, const Opacity& opacity_of) {
    for (int i = 0; i < patches_across * patches_across; ++i) {
        const long percent = std::lround(100 * opacity_of(i));
        if (percent > 0)
            out << "<rect x='" << i % patches_across * patch << "' y='" << i / patches_across * patch << "' width='"
                << patch << "' height='" << patch << "' fill='" << colour << "' fill-opacity='" << percent << "%'/>\n";
    }
}

}  // namespace support

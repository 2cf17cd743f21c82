#pragma once

#include "heat_map.hpp"
#include "pixels.hpp"

#include <utility>

/// Pictures of what goes on along an axis, such as time: rows of colours below each other.
namespace support {

/// A few rows of colours: 0 light, 1 dark.
struct Strip {
    std::vector<std::string> names{};  ///< one for all rows, or one for each
    Eigen::MatrixXf values{};
    int row_height = 18;
    bool warm = false;  ///< in orange, to be told from its neighbours
};

/// Strips over one axis.
struct StripChart {
    std::string title{}, note{};
    std::vector<Strip> strips{};
    int at_once = 1;  ///< so many values share a column of 5 pixels, in which their mean shows
    std::vector<std::pair<double, std::string>> ticks{};  ///< columns of values, and what stands below them
};

/// Draws the charts below each other, on white paper.
inline void draw_strip_charts(std::ostream& out, std::string_view description, const std::vector<StripChart>& charts) {
    constexpr int left = 150, column = 5, gap = 6, head = 54, foot = 58;
    int height = 0, width = 0;
    for (const StripChart& chart : charts) {
        height += head + foot;
        for (const Strip& strip : chart.strips) {
            height += gap + strip.row_height * static_cast<int>(strip.values.rows());
            width = std::max(width, column * static_cast<int>(strip.values.cols() / chart.at_once));
        }
    }
    svg::open(out, left + width + 30, height, description,
              ".name{font-size:13px;text-anchor:end}.place{font-size:12px;text-anchor:middle}");
    int y = 0;
    for (const StripChart& chart : charts) {
        out << "<text class='title' x='24' y='" << y + 34 << "'>" << svg::escaped(chart.title) << "</text>\n";
        y += head;
        for (const Strip& strip : chart.strips) {
            const int rows = static_cast<int>(strip.values.rows()), tall = rows * strip.row_height;
            const int named = tall / static_cast<int>(strip.names.size());
            for (std::size_t i = 0; i < strip.names.size(); ++i)
                out << "<text class='name' x='" << left - 10 << "' y='"
                    << y + named * static_cast<int>(i) + named / 2 + 5 << "'>" << svg::escaped(strip.names[i])
                    << "</text>\n";
            out << "<g transform='translate(" << left << " " << y << ")'>\n";
            draw_pixels(
                out, rows, static_cast<int>(strip.values.cols()) / chart.at_once, column, strip.row_height,
                [&](int row, int place) {
                    const float mean = strip.values.row(row).segment(place * chart.at_once, chart.at_once).mean();
                    const double share = std::round(12 * std::clamp(static_cast<double>(mean), 0.0, 1.0)) / 12;
                    return svg::hex(strip.warm ? svg::Colour{246 - 12 * share, 244 - 156 * share, 240 - 228 * share}
                                               : detail::colour_of(share));
                });
            out << "</g>\n";
            y += gap + tall;
        }
        out << std::fixed << std::setprecision(1);
        for (const auto& [place, text] : chart.ticks)
            out << "<text class='place' x='" << left + column * place / chart.at_once << "' y='" << y + 12 << "'>"
                << svg::escaped(text) << "</text>\n";
        out << "<text class='number' x='" << left << "' y='" << y + 34 << "'>" << svg::escaped(chart.note)
            << "</text>\n";
        y += foot;
    }
    svg::close(out);
}

}  // namespace support

#pragma once

#include "svg.hpp"

#include <Eigen/Core>

#include <vector>

/// Heat maps of matrices as one SVG picture, with a scale beside them that holds for all.
namespace support {

/// A matrix to draw: 0 light, `HeatMapPicture::most` dark.
struct HeatMap {
    std::string title{};
    Eigen::MatrixXd weights{};
    std::vector<std::string> rows{}, columns{};  ///< labels; none: no labels on that side; long columns' stand upright
};

/// What all heat maps of a picture share.
struct HeatMapPicture {
    std::string title{};
    std::string description{};  ///< for those who cannot see it
    std::string row_axis{}, column_axis{};
    std::string scale = "weight";
    double most = 1;   ///< what the darkest colour stands for
    int cell = 22;     ///< pixels
    int across = 760;  ///< as many maps stand side by side as fit into so many pixels
};

namespace detail {

/// Light to dark, so that a printed page shows the order too.
inline constexpr std::array<svg::Colour, 5> heat_colours{svg::Colour{243, 246, 249}, svg::Colour{184, 213, 232},
                                                         svg::Colour{99, 164, 206}, svg::Colour{33, 106, 165},
                                                         svg::Colour{9, 43, 94}};

/// Of a share from 0 to 1; what is beyond has the colour of the end.
inline svg::Colour colour_of(double share) {
    const double place = share > 0 ? std::min(share, 1.0) * static_cast<double>(heat_colours.size() - 1) : 0;
    const std::size_t below = std::min(static_cast<std::size_t>(place), heat_colours.size() - 2);
    const double part = place - static_cast<double>(below);
    const svg::Colour& a = heat_colours[below];
    const svg::Colour& b = heat_colours[below + 1];
    return {a.red + part * (b.red - a.red), a.green + part * (b.green - a.green), a.blue + part * (b.blue - a.blue)};
}

/// One heat map, its top left corner at (0, 0).
class HeatMapPanel {
public:
    static constexpr int letter = 9;  ///< a title's, at most, on average

    HeatMapPanel(const HeatMap& map, const HeatMapPicture& all) : map_(map), all_(all) {}

    int top() const { return map_.title.empty() ? 10 : 34; }
    int foot() const { return static_cast<int>(map_.weights.rows()) * all_.cell; }
    int right() const { return static_cast<int>(map_.weights.cols()) * all_.cell; }
    int left() const { return axis(all_.row_axis) + room(longest(map_.rows)); }
    int width() const { return left() + std::max(right(), letter * letters(map_.title)); }
    int height() const { return top() + foot() + column_room() + axis(all_.column_axis) + 14; }

    void draw(std::ostream& out) const {
        if (!map_.title.empty())
            out << "<text class='heading' x='" << left() << "' y='20'>" << svg::escaped(map_.title) << "</text>\n";
        out << "<g transform='translate(" << left() << " " << top() << ")'>\n";
        draw_cells(out);
        draw_labels(out);
        out << "</g>\n";
    }

private:
    int font() const { return std::clamp(all_.cell * 2 / 3, 8, 15); }
    static int letters(const std::string& text) {
        return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
    }
    static int longest(const std::vector<std::string>& labels) {
        int most = 0;
        for (const std::string& label : labels) most = std::max(most, letters(label));
        return most;
    }
    static int axis(const std::string& name) { return name.empty() ? 0 : 26; }
    int room(int label) const { return label == 0 ? 0 : 10 + label * font() * 2 / 3; }
    bool upright() const { return longest(map_.columns) > 2; }
    int column_room() const { return upright() ? room(longest(map_.columns)) : map_.columns.empty() ? 0 : font() + 4; }

    void draw_cells(std::ostream& out) const {
        const int cell = all_.cell;
        const std::string nothing = svg::hex(colour_of(0));
        out << "<rect width='" << right() << "' height='" << foot() << "' fill='" << nothing << "'/>\n";
        for (int row = 0; row < map_.weights.rows(); ++row) {
            for (int column = 0; column < map_.weights.cols(); ++column) {
                const std::string fill = svg::hex(colour_of(map_.weights(row, column) / all_.most));
                if (fill == nothing) continue;  // the background shows it
                out << "<rect x='" << column * cell << "' y='" << row * cell << "' width='" << cell << "' height='"
                    << cell << "' fill='" << fill << "'/>\n";
            }
        }
        out << "<path class='grid' d='";
        for (int row = 1; row < map_.weights.rows(); ++row) out << "M0 " << row * cell << "h" << right();
        for (int column = 1; column < map_.weights.cols(); ++column) out << "M" << column * cell << " 0v" << foot();
        out << "'/>\n";
    }
    void draw_labels(std::ostream& out) const {
        const int cell = all_.cell;
        const auto label = [&](const std::string& text, int x, int y, std::string_view anchor, bool turned = false) {
            out << "<text class='label' style='font-size:" << font() << "px;text-anchor:" << anchor << "'";
            if (turned)
                out << " transform='translate(" << x << " " << y << ") rotate(-90)'>";
            else
                out << " x='" << x << "' y='" << y << "'>";
            out << svg::visible(text) << "</text>\n";
        };
        int y = (cell + font()) / 2 - font() / 6;
        for (const std::string& text : map_.rows) label(text, -7, y, "end"), y += cell;
        int x = cell / 2;
        for (const std::string& text : map_.columns) {
            if (upright())
                label(text, x + font() / 3, foot() + 7, "end", true);
            else
                label(text, x, foot() + font() + 3, "middle");
            x += cell;
        }
        if (!all_.column_axis.empty())
            out << "<text class='axis' x='" << right() / 2 << "' y='" << foot() + column_room() + 20 << "'>"
                << svg::escaped(all_.column_axis) << "</text>\n";
        if (!all_.row_axis.empty())
            out << "<text class='axis' transform='translate(" << 14 - left() << " " << foot() / 2 << ") rotate(-90)'>"
                << svg::escaped(all_.row_axis) << "</text>\n";
    }

    const HeatMap& map_;
    const HeatMapPicture& all_;
};

/// The scale of all maps, its top left corner at (0, 0).
inline void draw_heat_scale(std::ostream& out, const HeatMapPicture& all, int height) {
    constexpr int width = 16;
    out << "<defs><linearGradient id='scale' x1='0' y1='1' x2='0' y2='0'>";
    for (std::size_t i = 0; i < heat_colours.size(); ++i)
        out << "<stop offset='" << static_cast<double>(i) / static_cast<double>(heat_colours.size() - 1)
            << "' stop-color='" << svg::hex(heat_colours[i]) << "'/>";
    out << "</linearGradient></defs>\n<rect class='bar' width='" << width << "' height='" << height << "'/>\n";
    for (int quarter = 0; quarter <= 4; ++quarter) {
        const int y = height - quarter * height / 4;
        out << "<path class='tick' d='M" << width << " " << y << "h5'/><text class='number' x='" << width + 9 << "' y='"
            << y + 4 << "'>" << std::fixed << std::setprecision(2) << all.most * quarter / 4 << "</text>\n";
    }
    out << "<text class='axis' transform='translate(" << width + 56 << " " << height / 2 << ") rotate(-90)'>"
        << svg::escaped(all.scale) << "</text>\n";
}

}  // namespace detail

/// The maps stand side by side while they fit, then below each other. The picture brings its own white paper, so it can
/// be read on light and on dark pages.
inline void draw_heat_maps(std::ostream& out, const HeatMapPicture& all, const std::vector<HeatMap>& maps) {
    using Panel = detail::HeatMapPanel;
    constexpr int margin = 24, gap = 12, scale_space = 92, title_letter = 10;

    struct Place {
        int x, y;
    };
    std::vector<Place> places;
    const int start = all.title.empty() ? margin : margin + 30;
    Place next{0, start};
    int width = 0, bottom = start;
    for (const HeatMap& map : maps) {
        const Panel panel(map, all);
        if (next.x > 0 && next.x + panel.width() > all.across) next = {0, bottom};
        places.push_back(next);
        next.x += panel.width() + gap;
        width = std::max(width, next.x);
        bottom = std::max(bottom, next.y + panel.height());
    }
    const int left = maps.empty() ? 0 : Panel(maps.front(), all).left();
    const int title_width = left + title_letter * static_cast<int>(all.title.size());
    svg::open(out, margin + std::max(width + scale_space, title_width), bottom, all.description);
    if (!all.title.empty())
        out << "<text class='title' x='" << margin + left << "' y='" << margin + 16 << "'>" << svg::escaped(all.title)
            << "</text>\n";
    for (std::size_t i = 0; i < maps.size(); ++i) {
        out << "<g transform='translate(" << margin + places[i].x << " " << places[i].y << ")'>\n";
        Panel(maps[i], all).draw(out);
        out << "</g>\n";
    }
    if (!maps.empty()) {
        const Panel first(maps.front(), all);
        out << "<g transform='translate(" << margin + width << " " << start + first.top() << ")'>\n";
        detail::draw_heat_scale(out, all, std::max(first.foot(), 80));
        out << "</g>\n";
    }
    svg::close(out);
}

}  // namespace support

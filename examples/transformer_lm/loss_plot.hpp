#pragma once

#include "../support/svg.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace transformer_lm {

/// A line of the picture: losses in bits per character, each after so many steps.
struct Curve {
    struct Point {
        int step;
        double loss;
    };
    std::string name, colour;
    std::vector<Point> points;
    std::string dashes = "none";  ///< as SVG has them
};

/// Curves of learning as an SVG picture, beside the bigram's loss.
inline void draw_losses(std::ostream& out, const std::vector<Curve>& curves, double bigram) {
    constexpr int left = 70, top = 56, width = 560, height = 300;
    double most = bigram, least = bigram, last = 1;
    for (const Curve& curve : curves) {
        for (const Curve::Point& point : curve.points) {
            most = std::max(most, point.loss), least = std::min(least, point.loss);
            last = std::max<double>(last, point.step);
        }
    }
    least = std::floor(least), most = std::max(std::ceil(most), least + 1);
    const auto x = [&](double step) { return left + width * step / last; };
    const auto y = [&](double bits) { return top + height * (most - bits) / (most - least); };

    svg::open(out, left + width + 130, top + height + 64, "Loss of a small Transformer while it learns",
              ".curve{fill:none;stroke-width:2}.line{stroke:#e4e7eb}");
    out << "<text class='title' x='" << left << "' y='30'>Loss while the Transformer learns</text>\n"
        << std::fixed << std::setprecision(1);
    for (double bits = least; bits <= most; bits += 1)
        out << "<path class='line' d='M" << left << " " << y(bits) << "h" << width << "'/><text class='number' x='"
            << left - 22 << "' y='" << y(bits) + 4 << "'>" << static_cast<int>(bits) << "</text>\n";
    for (int quarter = 0; quarter <= 4; ++quarter)
        out << "<text class='number' text-anchor='middle' x='" << x(last * quarter / 4) << "' y='" << top + height + 20
            << "'>" << std::lround(last * quarter / 4) << "</text>\n";
    out << "<text class='axis' x='" << left + width / 2 << "' y='" << top + height + 46 << "'>steps</text>\n"
        << "<text class='axis' transform='translate(24 " << top + height / 2
        << ") rotate(-90)'>bits per character</text>\n";

    struct Name {
        std::string text, colour;
        double y;
    };
    std::vector<Name> names;
    const auto draw = [&](const Curve& curve) {
        if (curve.points.empty()) return;
        out << "<path class='curve' style='stroke:" << curve.colour << ";stroke-dasharray:" << curve.dashes << "' d='";
        for (const Curve::Point& point : curve.points)
            out << (&point == &curve.points.front() ? "M" : "L") << x(point.step) << " " << y(point.loss);
        out << "'/>\n";
        names.push_back({curve.name, curve.colour, y(curve.points.back().loss)});
    };
    for (const Curve& curve : curves) draw(curve);
    draw({"bigram, held-out", "#c2410c", {{0, bigram}, {static_cast<int>(last), bigram}}, "6 4"});
    // Names stand at least a line apart.
    std::ranges::sort(names, {}, &Name::y);
    for (std::size_t i = names.size() - 1; i-- > 0;) names[i].y = std::min(names[i].y, names[i + 1].y - 14);
    for (const Name& name : names)
        out << "<text class='number' style='fill:" << name.colour << "' x='" << left + width + 8 << "' y='"
            << name.y + 4 << "'>" << name.text << "</text>\n";
    svg::close(out);
}

}  // namespace transformer_lm

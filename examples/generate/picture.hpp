#pragma once

#include "../support/svg.hpp"

#include <string>
#include <vector>

namespace generate {

/// How fast characters come at a length of the text.
struct Speed {
    double context;
    double cached, uncached;  ///< characters a second
};

/// Speeds over the length of the text, a decade of speed as high as the next.
inline void draw_speeds(std::ostream& out, const std::vector<Speed>& speeds) {
    namespace svg = support::svg;
    constexpr int left = 96, top = 56, width = 520, height = 300;
    double least = speeds.front().uncached, most = least;
    for (const Speed& speed : speeds) {
        least = std::min({least, speed.cached, speed.uncached});
        most = std::max({most, speed.cached, speed.uncached});
    }
    least = std::floor(std::log10(least)), most = std::max(std::ceil(std::log10(most)), least + 1);
    const double longest = std::ceil(speeds.back().context / 64) * 64;
    const auto x = [&](double context) { return left + width * context / longest; };
    const auto y = [&](double rate) { return top + height * (most - std::log10(rate)) / (most - least); };

    svg::open(out, left + width + 150, top + height + 64, "Speed of generating, with a cache and without",
              ".curve{fill:none;stroke-width:2.5}.line{stroke:#e4e7eb}");
    const auto text = [&](std::string_view kind, std::string_view anchor, double at, double down, auto words) {
        out << "<text class='" << kind << "' text-anchor='" << anchor << "' x='" << at << "' y='" << down << "'>"
            << words << "</text>\n";
    };
    out << std::fixed << std::setprecision(1);
    text("title", "start", left, 30, "How fast the model writes");
    for (double power = least; power <= most; ++power) {
        const double rate = std::pow(10, power);
        out << "<path class='line' d='M" << left << " " << y(rate) << "h" << width << "'/>\n";
        text("number", "end", left - 8, y(rate) + 4, std::lround(rate));
    }
    for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0})
        text("number", "middle", x(share * longest), top + height + 20, std::lround(share * longest));
    text("axis", "middle", left + width / 2, top + height + 46, "characters in the text so far");
    out << "<text class='axis' transform='translate(24 " << top + height / 2
        << ") rotate(-90)'>characters a second</text>\n";

    const auto curve = [&](auto rate, std::string_view name, std::string_view colour) {
        out << "<path class='curve' stroke='" << colour << "' d='";
        for (const Speed& speed : speeds)
            out << (&speed == &speeds.front() ? "M" : "L") << x(speed.context) << " " << y(rate(speed));
        out << "'/>\n";
        text("number", "start", x(speeds.back().context) + 10, y(rate(speeds.back())) + 4, name);
    };
    curve([](const Speed& speed) { return speed.cached; }, "with caches", "#216aa5");
    curve([](const Speed& speed) { return speed.uncached; }, "without", "#c2410c");
    svg::close(out);
}

}  // namespace generate

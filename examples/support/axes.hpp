#pragma once

#include "svg.hpp"

#include <sstream>

namespace support::svg {

/// A number as short as it can be at that many digits behind the point.
inline std::string rounded(double value, int digits = 1) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(digits) << value;
    std::string number = text.str();
    if (digits > 0) number.erase(number.find_last_not_of('0') + 1);
    if (number.ends_with('.')) number.pop_back();
    return number == "-0" ? "0" : number;
}

/// A piece of one axis: numbers from `least` to `most`, written out at each multiple of `step`.
struct Range {
    double least, most, step;
};

/// A rectangle of a picture, in pixels, with a pair of axes.
struct Axes {
    double left, top, width, height;
    Range across, up;

    double x(double value) const { return left + width * (value - across.least) / (across.most - across.least); }
    double y(double value) const { return top + height * (up.most - value) / (up.most - up.least); }
    /// A place in pixels, as a path writes it.
    std::string at(double across_value, double up_value) const {
        return rounded(x(across_value)) + " " + rounded(y(up_value));
    }

    /// Grid, numbers and names.
    void draw(std::ostream& out, std::string_view title, std::string_view across_name, std::string_view up_name) const {
        constexpr double slack = 1e-9;
        out << "<path d='";
        for (double v = up.least; v <= up.most + slack; v += up.step)
            out << "M" << rounded(left) << " " << rounded(y(v)) << "h" << rounded(width);
        out << "' style='stroke:#e4e7eb;fill:none'/>\n";
        for (double v = up.least; v <= up.most + slack; v += up.step)
            text(out, left - 8, y(v) + 4, "number", rounded(v, 2), "end");
        for (double v = across.least; v <= across.most + slack; v += across.step)
            text(out, x(v), top + height + 18, "number", rounded(v, 2), "middle");
        text(out, left, top - 12, "heading", title, "start");
        text(out, left + width / 2, top + height + 38, "axis", across_name, "middle");
        out << "<text class='axis' transform='translate(" << rounded(left - 42) << " " << rounded(top + height / 2)
            << ") rotate(-90)'>" << escaped(up_name) << "</text>\n";
    }

    static void text(std::ostream& out, double x, double y, std::string_view kind, std::string_view words,
                     std::string_view anchor) {
        out << "<text class='" << kind << "' text-anchor='" << anchor << "' x='" << rounded(x) << "' y='" << rounded(y)
            << "'>" << escaped(words) << "</text>\n";
    }
};

}  // namespace support::svg

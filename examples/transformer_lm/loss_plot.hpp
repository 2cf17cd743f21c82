#pragma once

#include "../support/svg.hpp"
#include "training.hpp"

namespace transformer_lm {

/// The curve of learning as an SVG picture, beside the bigram's loss.
inline void draw_losses(std::ostream& out, const std::vector<Look>& looks, double bigram) {
    constexpr int left = 70, top = 56, width = 560, height = 300;
    double most = bigram, least = bigram;
    for (const Look& look : looks) {
        most = std::max({most, look.training, look.held_out});
        least = std::min({least, look.training, look.held_out});
    }
    least = std::floor(least), most = std::max(std::ceil(most), least + 1);
    const double last = looks.empty() ? 1 : looks.back().step;
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

    const auto curve = [&](auto loss, std::string_view name, double name_y, std::string_view colour) {
        out << "<path class='curve' stroke='" << colour << "' d='";
        for (const Look& look : looks)
            out << (&look == &looks.front() ? "M" : "L") << x(look.step) << " " << y(loss(look));
        out << "'/>\n<text class='number' x='" << left + width + 8 << "' y='" << name_y + 4 << "'>" << name
            << "</text>\n";
    };
    if (!looks.empty()) {
        const double training = y(looks.back().training), held_out = y(looks.back().held_out);
        // Their names stand at least a line apart.
        const double aside = std::max(0.0, 7 - std::abs(training - held_out) / 2) * (training < held_out ? -1 : 1);
        curve([](const Look& look) { return look.training; }, "training", training + aside, "#63a4ce");
        curve([](const Look& look) { return look.held_out; }, "held-out", held_out - aside, "#092b5e");
    }
    out << "<path class='curve' stroke='#c2410c' stroke-dasharray='6 4' d='M" << left << " " << y(bigram) << "h"
        << width << "'/>\n<text class='number' x='" << left + width + 8 << "' y='" << y(bigram) + 4
        << "'>bigram, held-out</text>\n";
    svg::close(out);
}

}  // namespace transformer_lm

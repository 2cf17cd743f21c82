#pragma once

#include "../support/heat_map.hpp"
#include "translation.hpp"

namespace translate_dates {

/// The alignments as an SVG picture: a heat map for each translation.
inline void draw_picture(std::ostream& out, const std::vector<Translation>& translations) {
    const auto letters = [](const std::string& text) {
        std::vector<std::string> each;
        for (const char c : text) each.emplace_back(1, c);
        return each;
    };
    std::vector<support::HeatMap> maps;
    for (const Translation& translation : translations)
        maps.push_back({.title = translation.text + " → " + translation.answer,
                        .weights = translation.weights.cast<double>(),
                        .rows = letters(translation.answer),
                        .columns = letters(translation.text)});
    draw_heat_maps(out,
                   {.title = "Where each output character looks in the input",
                    .description = "Alignment of dates and their ISO 8601 form by additive attention",
                    .row_axis = "output",
                    .column_axis = "input"},
                   maps);
}

}  // namespace translate_dates

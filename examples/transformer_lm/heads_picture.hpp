#pragma once

#include "../support/heat_map.hpp"
#include "model.hpp"

namespace transformer_lm {

/// Where every head of every block looks, as an SVG picture: a line of heat maps a block, a row of cells a character
/// that looks, a column a character that is looked at.
inline void draw_heads(std::ostream& out, const std::vector<std::string>& text, const std::vector<Rows<float>>& weights,
                       Index heads) {
    const auto n = static_cast<Index>(text.size());
    constexpr int cell = 8, beside = 60;
    std::vector<support::HeatMap> maps;
    for (std::size_t block = 0; block < weights.size(); ++block) {
        for (Index head = 0; head < heads; ++head)
            maps.push_back({.title = "block " + std::to_string(block + 1) + ", head " + std::to_string(head + 1),
                            .weights = weights[block].middleRows(head * n, n).template cast<double>(),
                            .rows = text,
                            .columns = text});
    }
    draw_heat_maps(out,
                   {.title = "Where each character (row) looks before it predicts the next one",
                    .description = "Attention of every head of a small Transformer",
                    .cell = cell,
                    .across = static_cast<int>(heads) * (cell * static_cast<int>(n) + beside)},
                   maps);
}

}  // namespace transformer_lm

#pragma once

#include "../support/pixels.hpp"
#include "../support/svg.hpp"
#include "model.hpp"

namespace multimodal {

/// Scenes, and for each word of their question where it looks: the mean of the heads' weights over the picture.
inline void draw_scenes(std::ostream& out, const Model& model, const std::vector<Scene>& scenes) {
    namespace svg = support::svg;
    constexpr int pixel = 3, size = pixel * static_cast<int>(side), gap = 16, left = 24, top = 56, row = size + 62;
    constexpr double full = 0.8;  // the weight from which on a patch is all uncovered
    svg::open(out, left + 6 * (size + gap) + 16, top + static_cast<int>(scenes.size()) * row + 20,
              "Questions about pictures, and where each word looks",
              ".word{font-size:14px;text-anchor:middle}.answer{font-size:14px;font-weight:bold}");
    out << "<text class='title' x='" << left << "' y='34'>Where each word of a question looks</text>\n";
    int y = top;
    for (std::size_t i = 0; i < scenes.size(); ++i, y += row) {
        const Scene& scene = scenes[i];
        Model::Tape tape;
        const Index count = static_cast<Index>(scene.question.size());
        Rows<float> weights(Model::heads * count, patches);
        model.forward(Batch(scene), tape, weights);
        Index answer = 0;
        const double probability = std::exp(static_cast<double>(tape.log_p.row(0).maxCoeff(&answer)));

        out << "<g transform='translate(" << left << " " << y << ")'><g id='scene" << i << "'>\n";
        support::draw_pixels(out, side, side, pixel, pixel, [&](int r, int column) {
            const auto level = [&](int channel) {
                return 255 * std::round(10 * static_cast<double>(scene.pixels(r, column * 3 + channel))) / 10;
            };
            return svg::hex({level(0), level(1), level(2)});
        });
        out << "</g></g>\n<text class='answer' x='" << left << "' y='" << y + size + 20 << "'>→ "
            << words[static_cast<std::size_t>(answer)] << (answer == scene.answer ? " ✓ " : " ✗ ")
            << std::lround(100 * probability) << " %</text>\n";
        for (Index w = 0; w < count; ++w) {
            const int x = left + (static_cast<int>(w) + 1) * (size + gap);
            out << "<g transform='translate(" << x << " " << y << ")'><use href='#scene" << i << "'/>\n";
            support::draw_veil(out, grid, size / static_cast<int>(grid), "#fff", [&](Index token) {
                const auto of_heads = weights(Eigen::seqN(w, Model::heads, count), token);
                const double weight = static_cast<double>(of_heads.mean());
                return 0.92 * (1 - std::min(1.0, weight / full));
            });
            out << "</g>\n<text class='word' x='" << x + size / 2 << "' y='" << y + size + 20 << "'>"
                << words[static_cast<std::size_t>(scene.question[static_cast<std::size_t>(w)])] << "</text>\n";
        }
    }
    out << "<text class='number' x='" << left << "' y='" << y
        << "'>the more weight a patch gets, the less it is covered; "
        << "from " << full << " on not at all</text>\n";
    svg::close(out);
}

}  // namespace multimodal

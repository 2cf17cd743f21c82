#pragma once

#include "../support/pixels.hpp"
#include "../support/svg.hpp"
#include "model.hpp"

namespace image_patches {

/// A picture, what the model takes it for, and the class token's weights.
struct Look {
    Picture picture;
    Index answer = 0;
    double probability = 0;
    Rows<float> weights{};
};

inline Look look_at(const Model& model, const Picture& picture) {
    Model::Tape tape;
    Look look{picture};
    look.weights.resize(1, patches);
    model.forward(Batch(picture), tape, look.weights);
    look.probability = std::exp(static_cast<double>(tape.log_p.row(0).maxCoeff(&look.answer)));
    return look;
}

/// Each picture in five greys, and below it the same with the weights of its patches over it.
inline void draw_looks(std::ostream& out, const std::vector<Look>& looks) {
    constexpr int pixel = 3, size = pixel * static_cast<int>(side), gap = 18, left = 62, top = 84;
    constexpr double full = 0.3;  // the weight from which on a patch has all of its colour
    namespace svg = support::svg;
    svg::open(out, left + static_cast<int>(looks.size()) * (size + gap) + 6, top + 2 * (size + gap) + 30,
              "Pictures, and where the class token looks in them", ".name{font-size:13px;text-anchor:middle}");
    out << "<text class='title' x='24' y='34'>Which shape is it? Where the class token looks</text>\n"
        << "<text class='axis' transform='translate(44 " << top + size / 2 << ") rotate(-90)'>picture</text>\n"
        << "<text class='axis' transform='translate(44 " << top + size + gap + size / 2
        << ") rotate(-90)'>weights over it</text>\n<text class='number' x='" << left << "' y='"
        << top + 2 * (size + gap) + 8
        << "'>orange: the weight of a patch of 6 × 6 pixels, in full colour from 0.3 on; the weights of a picture sum "
           "to 1"
        << "</text>\n";
    for (std::size_t i = 0; i < looks.size(); ++i) {
        const Look& look = looks[i];
        const int x = left + static_cast<int>(i) * (size + gap);
        out << "<text class='name' x='" << x + size / 2 << "' y='" << top - 12 << "'>"
            << support::shape_names[static_cast<std::size_t>(look.answer)]
            << (look.answer == look.picture.shape ? " ✓ " : " ✗ ") << std::lround(100 * look.probability)
            << " %</text>\n<g transform='translate(" << x << " " << top << ")'><g id='picture" << i << "'>\n";
        support::draw_pixels(out, side, side, pixel, pixel, [&](int row, int column) {
            const double light = std::clamp(static_cast<double>(look.picture.pixels(row, column)), 0.0, 1.0);
            const double grey = 35 + 210 * std::round(4 * light) / 4;
            return svg::hex({grey, grey, grey + 8});
        });
        out << "</g></g>\n<g transform='translate(" << x << " " << top + size + gap << ")'><use href='#picture" << i
            << "'/>\n";
        support::draw_veil(out, grid, size / static_cast<int>(grid), "#ff7a1a", [&](Index token) {
            return 0.85 * std::min(1.0, static_cast<double>(look.weights(0, token)) / full);
        });
        out << "</g>\n";
    }
    svg::close(out);
}

}  // namespace image_patches

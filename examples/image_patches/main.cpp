// needs: threads
/// Tells which shape is in a picture, by attention over its patches, and shows where it looks: a vision transformer of
/// two attention layers (model.hpp), trained on pictures that are drawn as they are needed (pictures.hpp).

#include "../support/classifier.hpp"
#include "../support/report.hpp"
#include "../support/save_picture.hpp"
#include "drawing.hpp"

using namespace image_patches;
using namespace support;

namespace {

int run(const GalleryOptions& options) {
    require_writable(options.picture);
    std::cout << "Circles, squares and triangles among strokes, dots and noise:\n";
    const Model model = train_classifier<Batch>(Model(Random(options.seed)), options.brief ? 150 : 1600, options);

    Random random(1'000'000);
    std::vector<Look> looks;
    double right = 0, on_shape = 0, share = 0;
    for (int i = 0; i < (options.brief ? 200 : 2000); ++i) {
        const Look look = look_at(model, Picture(random));
        right += look.answer == look.picture.shape ? 1 : 0;
        for (Index token = 0; token < patches; ++token) {
            if (!look.picture.has_shape(token)) continue;
            on_shape += static_cast<double>(look.weights(0, token));
            share += 1.0 / patches;
        }
        if (looks.size() < 6) looks.push_back(look);
    }
    const double count = options.brief ? 200 : 2000, accuracy = 100 * right / count, focus = on_shape / share;
    std::cout << std::fixed << std::setprecision(1) << "\nheld-out pictures named right: " << accuracy << " % of "
              << static_cast<int>(count) << "\nthe shape's patches are " << 100 * share / count
              << " % of a picture and get " << 100 * on_shape / count << " % of the weight\n\n";

    save_picture(options.picture, "pictures and where it looks in them",
                 [&](std::ostream& out) { draw_looks(out, looks); });

    Report report;
    const double least = options.brief ? 45 : 95, times = options.brief ? 1.2 : 2.5;
    report(accuracy >= least, "at least " + Report::number(least) + " % of held-out pictures are named right");
    report(focus >= times, "a patch of the shape gets " + Report::number(focus) +
                               " times the weight of an average one, " + "at least " + Report::number(times));
    return report.exit_code();
}

}  // namespace

int main(int count, char** words) {
    return run_program(
        gallery_usage("image_patches: names the shape in a picture by attention over its patches.\n"),
        [&] { return read_gallery_options(count, words, "image_patches", 3e-3); }, run);
}

// needs: threads
/// Answers questions about pictures: the words attend to the picture's patches (model.hpp). To tell that it needs both,
/// the same network is trained with the picture alone, and with the question alone.

#include "../support/classifier.hpp"
#include "../support/report.hpp"
#include "../support/save_picture.hpp"
#include "drawing.hpp"

using namespace multimodal;
using namespace support;

namespace {

/// Trains a network that sees, reads, or does both, and tells what share of held-out questions it answers right.
template <bool sees, bool reads>
double learn(Model& model, std::string_view name, const GalleryOptions& options) {
    std::cout << name << ":\n";
    model = train_classifier<Batch<sees, reads>>(model, options.brief ? 600 : 1200, options);
    return percent_right<Batch<sees, reads>>(model, options.brief ? 60 : 400);
}

int run(const GalleryOptions& options) {
    require_writable(options.picture);
    Model model{Random(options.seed)}, blind = model, deaf = model;
    const double both = learn<true, true>(model, "picture and question", options);
    const double text = learn<false, true>(blind, "the question alone", options);
    const double image = learn<true, false>(deaf, "the picture alone", options);
    std::cout << std::fixed << std::setprecision(1) << "\nheld-out questions answered right: " << both
              << " %; of the question alone " << text << " %, of the picture alone " << image << " %\n";

    Random random(2'000'000);
    const std::vector<Scene> scenes{Scene(random), Scene(random), Scene(random), Scene(random)};
    save_picture(options.picture, "pictures, questions and where the words look",
                 [&](std::ostream& out) { draw_scenes(out, model, scenes); });

    Report report;
    const double least = options.brief ? 80 : 95, margin = options.brief ? 30 : 40;
    report(both >= least, "at least " + Report::number(least) + " % of held-out questions are answered right");
    report(both > std::max(text, image) + margin,
           "picture and question do better than either alone, by more than " + Report::number(margin) + " points");
    return report.exit_code();
}

}  // namespace

int main(int count, char** arguments) {
    return run_program(
        gallery_usage("multimodal: answers questions about pictures, by words that attend to image patches.\n"),
        [&] { return read_gallery_options(count, arguments, "multimodal", 6e-3); }, run);
}

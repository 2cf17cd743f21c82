// needs: threads
/// Translates dates as people write them into ISO 8601 by additive attention (Bahdanau et al. 2014), learnt on the
/// spot. Where to read on: model.hpp (the network around the attention), training.hpp, dates.hpp (what it learns from).

#include "../support/terminal.hpp"
#include "evaluation.hpp"
#include "options.hpp"
#include "picture.hpp"
#include "self_check.hpp"
#include "terminal_heat_map.hpp"

#include <sstream>

using namespace translate_dates;

namespace {

/// All that decides whether saved weights are those of this run, in one line; a new version where the model changes.
std::string kind_of_model(const TrainingPlan& plan) {
    std::ostringstream line;
    line << "translate_dates, version 3, seed " << plan.seed << ", rate " << plan.rate;
    return line.str();
}

Translator<float> trained_anew(const TrainingPlan& plan) {
    Translator<float> model(ModelSizes{}, plan.seed);
    ProgressBar bar;
    Trainer(model, plan).run([&](int step, float loss) { bar.show(static_cast<double>(step) / plan.steps, loss); });
    std::cout << "trained in " << std::fixed << std::setprecision(1) << bar.seconds_since_start() << " s with "
              << plan.threads << (plan.threads == 1 ? " thread\n" : " threads\n");
    return model;
}

Translator<float> trained_model(const Options& options) {
    const std::string kind = kind_of_model(options.plan);
    Translator<float> model(ModelSizes{}, options.plan.seed);
    if (!options.retrain && load_earlier_weights(options.weights, kind, model)) return model;
    require_writable(options.weights);
    model = trained_anew(options.plan);
    save_weights(options.weights, kind, model);
    std::cout << "weights saved in " << options.weights.string() << "\n";
    return model;
}

/// Prints what share of new texts comes out right, and returns that of held-out dates, in per cent.
double print_scores(const Translator<float>& model, int threads) {
    const auto dates = draw(2000, 1'000'001, held_out_date);
    const auto others = draw(1000, 1'000'002, non_date);
    const double right = 100 * exact_match(model, dates, threads);
    std::cout << std::fixed << std::setprecision(2) << "held-out dates translated exactly: " << right << " % of "
              << dates.size() << "\n"
              << "new non-dates recognised as such:  " << 100 * exact_match(model, others, threads) << " % of "
              << others.size() << "\n";
    return right;
}

void save_picture(const std::filesystem::path& path, const std::vector<Translation>& translations) {
    std::ostringstream picture;
    draw_picture(picture, translations);
    write_file(path, picture.str());
    std::cout << "\nThe alignment as a picture: " << path.string() << "\n";
}

void print(const Translation& translation) {
    std::cout << "\n"
              << translation.text << "  ->  " << translation.answer << "   (" << std::fixed << std::setprecision(1)
              << 100 * translation.probability << " % sure)\n\n";
    print_heat_map(std::cout, translation, wants_colours());
}

int refuse(const std::string& text, const std::string& reason) {
    std::cout << "No date: \"" << text << "\": " << reason << ".\n";
    return 1;
}

int translate_text(const std::string& text, const Options& options) {
    if (const Reason reason = why_unreadable(text)) return refuse(text, *reason);
    require_writable(options.picture);
    const Translation translation = translate(trained_model(options), text);
    if (const Reason reason = why_no_date(translation)) return refuse(text, *reason);
    print(translation);
    save_picture(options.picture, {translation});
    return 0;
}

int show_samples(const Options& options) {
    require_writable(options.picture);
    const Translator<float> model = trained_model(options);
    print_scores(model, options.plan.threads);
    std::vector<Translation> translations;
    for (const char* text : {"Saturday, 3 May 1979", "5/3/79", "4th of Sept. '99", "20 JULY 1969"}) {
        translations.push_back(translate(model, text));
        print(translations.back());
    }
    save_picture(options.picture, translations);
    std::cout << "Try your own: " << options.program << " 4th of July, 1776\n";
    return 0;
}

/// Whether training, anew, makes a model that is good enough.
int check_training(const Options& options) {
    const double right = print_scores(trained_anew(options.plan), options.plan.threads);
    if (right >= *options.check) return 0;
    std::cerr << "fewer held-out dates come out right than " << *options.check << " %\n";
    return 1;
}

}  // namespace

int main(int count, char** words) {
    const auto run = [](const Options& options) {
        if (options.self_check) return check_self(options.plan.threads);
        if (options.check) return check_training(options);
        return options.text ? translate_text(tidy(*options.text), options) : show_samples(options);
    };
    return run_program(
        usage, [&] { return read_options(count, words); }, run);
}

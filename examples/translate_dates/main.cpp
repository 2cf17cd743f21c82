// needs: threads
/// Translates dates as people write them into ISO 8601 by additive attention (Bahdanau et al. 2014), learnt on the
/// spot. Where to read on: model.hpp (the network around the attention), training.hpp, dates.hpp (what it learns from).

#include "../support/terminal.hpp"
#include "evaluation.hpp"
#include "heat_map.hpp"
#include "options.hpp"
#include "picture.hpp"
#include "self_check.hpp"

using namespace translate_dates;

namespace {

void train(Translator<float>& model, const Options& options) {
    const TrainingPlan plan{.threads = options.threads};
    ProgressBar bar;
    Trainer(model, plan).run([&](int step, float loss) { bar.show(static_cast<double>(step) / plan.steps, loss); });
    std::cout << "trained in " << std::fixed << std::setprecision(1) << bar.seconds_since_start() << " s with "
              << options.threads << (options.threads == 1 ? " thread\n" : " threads\n");
    try {
        save_weights(options.weights, weights_format, model);
        std::cout << "weights saved in " << options.weights.string() << "\n";
    } catch (const WeightsError& error) {
        std::cout << "weights not saved: " << error.what() << "\n";
    }
}

Translator<float> trained_model(const Options& options) {
    Translator<float> model(ModelSizes{}, TrainingPlan{}.seed);
    if (!options.retrain && std::filesystem::exists(options.weights)) {
        try {
            load_weights(options.weights, weights_format, model);
            std::cout << "weights of an earlier run: " << options.weights.string() << " (--retrain starts over)\n";
            return model;
        } catch (const WeightsError& error) {
            std::cout << error.what() << "; training anew" << std::endl;
        }
    }
    train(model, options);
    return model;
}

void print_scores(const Translator<float>& model, int threads) {
    const auto percent = [](double share) { return 100 * share; };
    const auto dates = draw(2000, 1'000'001, held_out_date);
    const auto others = draw(1000, 1'000'002, non_date);
    std::cout << std::fixed << std::setprecision(2)
              << "held-out dates translated exactly: " << percent(exact_match(model, dates, threads)) << " % of "
              << dates.size() << "\n"
              << "new non-dates recognised as such:  " << percent(exact_match(model, others, threads)) << " % of "
              << others.size() << "\n";
}

void save_picture(const std::filesystem::path& path, const std::vector<Translation>& translations) {
    std::ofstream file(path);
    draw_picture(file, translations);
    file.close();
    std::cout << (file ? "\nThe alignment as a picture: " : "\nThe picture cannot be written: ") << path.string()
              << "\n";
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
    const Translation translation = translate(trained_model(options), text);
    if (const Reason reason = why_no_date(translation)) return refuse(text, *reason);
    print(translation);
    save_picture(options.picture, {translation});
    return 0;
}

int show_samples(const Options& options) {
    const Translator<float> model = trained_model(options);
    print_scores(model, options.threads);
    std::vector<Translation> translations;
    for (const char* text : {"Saturday, 3 May 1979", "5/3/79", "4th of Sept. '99", "20 JULY 1969"}) {
        translations.push_back(translate(model, text));
        print(translations.back());
    }
    save_picture(options.picture, translations);
    std::cout << "Try your own: " << options.program << " 4th of July, 1776\n";
    return 0;
}

}  // namespace

int main(int count, char** words) {
    const auto run = [](const Options& options) {
        if (options.self_check) return check_self(options.threads);
        return options.text ? translate_text(tidy(*options.text), options) : show_samples(options);
    };
    return run_program(
        usage, [&] { return read_options(count, words); }, run);
}

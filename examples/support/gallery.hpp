#pragma once

#include "adam.hpp"
#include "command_line.hpp"
#include "numbers.hpp"
#include "terminal.hpp"

#include <numbers>

/// What the small examples share: the options that each of them has, and how each of them trains.
namespace support {

struct GalleryOptions {
    std::filesystem::path picture;
    std::uint64_t seed = 1;
    double rate = 0;
    bool brief = false;
    bool help = false;
};

/// `name` is the program's, `rate` its usual rate of learning.
inline GalleryOptions read_gallery_options(int count, char** words, std::string_view name, double rate) {
    GalleryOptions options{.picture = std::string(name) + ".svg", .rate = rate};
    for (CommandLine line(count, words); line.next();) {
        const std::string_view word = line.word();
        if (word == "--help")
            options.help = true;
        else if (word == "--short")
            options.brief = true;
        else if (word == "--svg")
            options.picture = line.value();
        else if (word == "--seed")
            options.seed = static_cast<std::uint64_t>(line.whole_number(0));
        else if (word == "--rate")
            options.rate = line.number(0);
        else
            throw UsageError("there is no option " + std::string(word));
    }
    return options;
}

/// The help of a program: what it does, in a sentence or two, then its options.
inline std::string gallery_usage(std::string_view what) {
    return std::string(what) + R"(
  --short      learns less, in seconds, and checks a weaker claim
  --svg FILE   where the picture goes (default: a file of the program's name in the current folder)
  --seed N     what data and first weights are drawn by (default: 1)
  --rate R     the highest rate of learning
  --help       prints this

The exit code is 0; 1 if what the program claims does not hold; 2 if the options make no sense or a file cannot be
written; 3 if training comes to a number that is not finite.
)";
}

/// Trains a model whose parameters are all of type T: `learn(gradient)` adds the gradient of the next minibatch to one
/// that is 0 and returns the loss. The rate rises at first and falls to 0 at the end, along half a cosine.
/// Throws NotFinite where the loss, the gradient or a weight is not finite.
template <class T, class Model, class Learn>
void train(Model& model, int steps, T rate, Learn&& learn) {
    Model gradient = attend::zero_gradient(model);
    const Numbers<T> numbers = numbers_of<T>(model), gradients = numbers_of<T>(gradient);
    Adam<T> adam(0, T(0.99));
    ProgressBar bar;
    for (int step = 0; step < steps; ++step) {
        fill(gradients, T(0));
        const T loss = learn(gradient);
        if (!std::isfinite(loss)) throw diverged("the loss", step + 1);
        const T done = static_cast<T>(step) / static_cast<T>(steps);
        const T rise = std::min(T(1), static_cast<T>(step + 1) / T(20));
        adam.step(numbers, gradients, rate * rise * T(0.5) * (T(1) + std::cos(std::numbers::pi_v<T> * done)));
        bar.show(static_cast<double>(step + 1) / steps, static_cast<float>(loss));
    }
}

}  // namespace support

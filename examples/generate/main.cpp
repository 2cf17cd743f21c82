// needs: threads
// embeds: transformer_lm/king_james.txt
/// Generates text with caches of keys and values. The model is that of ../transformer_lm, whose weights are used where
/// it has saved some; here it continues a text twice, by `MultiHeadAttention::step` over caches and by computing all of
/// the text anew for each character. Where to read on: continuations.hpp, and `step` in ../transformer_lm/block.hpp.

#include "../support/embedded_file.hpp"
#include "../support/terminal.hpp"
#include "../support/weights_file.hpp"
#include "../transformer_lm/kind.hpp"
#include "../transformer_lm/prompt.hpp"
#include "../transformer_lm/training.hpp"
#include "continuations.hpp"
#include "picture.hpp"

using namespace generate;

namespace {

constexpr std::string_view usage =
    R"(Lets a small Transformer write, with caches of keys and values and without, and compares text and speed.

  generate [options]

  --prompt TEXT     what to go on from (default: a line of the held-out text)
  --length N        how many characters to write (default: 480)
  --temperature X   below 1 the likelier characters win more often (default: 0.7)
  --seed N          what characters are drawn by (default: 1)
  --weights FILE    what transformer_lm has learnt (default: transformer_lm.scaled.safetensors beside the program);
                    without such a file it learns a little first
  --retrain         learns a little, even where there is such a file
  --svg FILE        where the picture of the speeds goes (default: generate.svg in the current folder)
  --short           the same with a tiny model, in a few seconds
  --help            prints this

The exit code is 0; 1 if the texts with and without caches differ; 2 if the options make no sense or a file cannot be
read or written; 3 if training or the model comes to a number that is not finite.
)";

struct Options : ProgramOptions {
    std::filesystem::path picture = "generate.svg";
    std::optional<std::string> prompt;
    int length = 480;
    double temperature = 0.7;
    std::uint64_t seed = 1;
};

Options read_options(int count, char** words) {
    Options options;
    options.weights = directory_of_program(words[0]) / "transformer_lm.scaled.safetensors";
    for (CommandLine line(count, words); line.next();) {
        const std::string_view word = line.word();
        if (options.take(line)) continue;
        if (word == "--prompt")
            options.prompt = line.value();
        else if (word == "--length")
            options.length = line.whole_number(16, 100'000);
        else if (word == "--temperature")
            options.temperature = line.number(0.01);
        else if (word == "--seed")
            options.seed = static_cast<std::uint64_t>(line.whole_number(0));
        else if (word == "--svg")
            options.picture = line.value();
        else
            throw UsageError("there is no option " + std::string(word));
    }
    return options;
}

Model learnt(Model model, const Corpus& corpus, const ModelSizes& sizes, int steps) {
    ProgressBar bar;
    Model weights = model;
    Trainer(weights, model, corpus, sizes.context, {.steps = steps, .threads = default_threads(), .looks = 4})
        .run([&](double done, double loss, double) { bar.show(done, static_cast<float>(loss)); });
    return model;
}

Model trained_model(const Corpus& corpus, std::string_view text, const Options& options) {
    const auto model_of = [&](const ModelSizes& sizes) {
        constexpr bool rope = true;
        return Model(corpus.alphabet_size(), sizes, within(sizes.context), rope, 1);
    };
    if (options.self_check) {
        const ModelSizes tiny{.layers = 2, .width = 32, .heads = 2, .context = 32};
        return learnt(model_of(tiny), corpus, tiny, 40);
    }
    const ModelSizes sizes;
    Model model = model_of(sizes);
    if (!options.retrain && load_earlier_weights(options.weights, kind_of_model({}, sizes, text), model)) return model;
    std::cout << "It learns a little first. What transformer_lm has learnt, it would find and use.\n";
    return learnt(std::move(model), corpus, sizes, 600);
}

/// Of each sixteenth of the characters the one that took the middle time.
std::vector<Speed> speeds_of(const Written& cached, const Written& uncached, std::size_t prompt) {
    const std::size_t share = cached.seconds.size() / 16;
    const auto rate = [&](const Written& written, std::size_t begin) {
        const auto some = std::span(written.seconds).subspan(begin, share);
        std::vector<double> seconds(some.begin(), some.end());
        std::ranges::sort(seconds);
        return 1 / seconds[share / 2];
    };
    std::vector<Speed> speeds;
    for (std::size_t begin = 0; begin + share <= cached.seconds.size(); begin += share)
        speeds.push_back({.context = static_cast<double>(prompt + begin + share / 2),
                          .cached = rate(cached, begin),
                          .uncached = rate(uncached, begin)});
    return speeds;
}

int run(const Options& options) {
    require_writable(options.picture);
    const std::string text = embedded_file();
    const Corpus corpus(text);
    const Tokens prompt = prompt_of(options.prompt, corpus);
    const Model model = trained_model(corpus, text, options);
    const int length = options.self_check ? std::min(options.length, 96) : options.length;
    const auto go_on = [&](auto&& continuation, const auto& show) {
        return write(continuation, prompt, length, options.temperature, options.seed, show);
    };
    std::cout << "\n";
    for (const Index token : prompt) std::cout << corpus.character(token);
    std::cout << (wants_colours() ? "\x1b[1m" : "|") << std::flush;
    const Written cached = go_on(Cached(model, static_cast<Index>(prompt.size()) + length),
                                 [&](Index token) { std::cout << corpus.character(token) << std::flush; });
    std::cout << (wants_colours() ? "\x1b[0m\n\n" : "\n\n") << "The same without caches ..." << std::flush;
    const Written uncached = go_on(Uncached(model), [](Index) {});

    if (cached.text != uncached.text) {
        const auto differ = std::ranges::mismatch(cached.text, uncached.text);
        std::cerr << "\nthe texts with and without caches differ from character "
                  << differ.in1 - cached.text.begin() + 1 << " on\n";
        return 1;
    }
    const float apart = (cached.log_probabilities - uncached.log_probabilities).cwiseAbs().maxCoeff();
    std::cout << " gives the same " << length << " characters; log-probabilities differ by at most " << apart << "\n\n"
              << "characters so far   with caches   without\n";
    const std::vector<Speed> speeds = speeds_of(cached, uncached, prompt.size());
    for (std::size_t i = 3; i < speeds.size(); i += 4)
        std::cout << std::fixed << std::setprecision(0) << std::setw(17) << speeds[i].context << std::setw(14)
                  << speeds[i].cached << std::setw(10) << speeds[i].uncached << "   a second: " << std::setprecision(1)
                  << speeds[i].cached / speeds[i].uncached << " times as fast\n";
    std::ostringstream picture;
    draw_speeds(picture, speeds);
    write_file(options.picture, picture.str());
    std::cout << "\nSpeed over the length of the text: " << options.picture.string() << "\n";
    return 0;
}

}  // namespace

int main(int count, char** words) {
    return run_program(
        usage, [&] { return read_options(count, words); }, run);
}

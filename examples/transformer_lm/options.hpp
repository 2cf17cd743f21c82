#pragma once

#include "../support/command_line.hpp"
#include "../support/threads.hpp"
#include "attentions.hpp"
#include "training.hpp"

#include <array>
#include <optional>

namespace transformer_lm {

inline constexpr std::string_view usage =
    R"(Trains a small Transformer to continue a text character by character, beside a bigram model to beat, and lets it write.

  transformer_lm [options]

  --score NAME      the attention: scaled (with RoPE; default), alibi, cosine (with RoPE), or yours, a formula in
                    attentions.hpp
  --soft-cap C      keeps the scores of scaled within -C and C
  --type TYPE       the numbers that blocks compute in: float (default), or bf16, of scaled without a cap: their weights
                    stay float beside them, and the curve of float is drawn too
  --text FILE       what to learn from (default: Genesis and the Gospels, King James translation)

  --minutes M       how long to train (default: 2)
  --steps N         trains N steps instead: the same weights each time, whatever the number of threads
  --layers N, --heads N, --width N, --context N
                    the model: blocks, heads, numbers and characters of context (default: 3, 4, 96, 128)
  --dropout P       the share of numbers left out in training (default: 0; a text of 10,000 characters wants 0.3)
  --rate R          the highest rate of learning (default: 0.005)
  --seed N          what weights, windows and characters are drawn by (default: 1)
  --check           fails unless the held-out loss is below the bigram's
  --retrain         trains anew, whatever was saved
  --threads N       trains with N threads (default: 2, or 1 where there is but one)

  --sample N        how many characters to write (default: 400)
  --prompt TEXT     what to go on from (default: a line of the held-out text)
  --temperature X   below 1 the likelier characters win more often (default: 0.7)

  --weights FILE    where trained weights are kept (default: transformer_lm.NAME.safetensors beside the program;
                    of bf16 transformer_lm.NAME.bf16.safetensors)
  --pictures DIR    where loss.svg and heads.svg go (default: beside the program)
  --short           checks itself in a few seconds, in a temporary directory
  --help            prints this

Losses are in bits per character, held-out ones of text that is kept from training.
The exit code is 0; 1 if a check fails; 2 if the options or the text make no sense or a file cannot be written; 3 if
training, or what it has left, comes to a number that is not finite. Such training saves nothing.
)";

struct Options : ProgramOptions {
    AttentionChoice attention;
    std::string_view type = "float";
    ModelSizes sizes;
    TrainingPlan plan{.threads = default_threads()};
    std::optional<std::filesystem::path> text;
    std::filesystem::path pictures;
    int sample = 400;
    std::optional<std::string> prompt;
    double temperature = 0.7;
    bool check = false;
};

inline constexpr std::array<std::string_view, 2> types{"float", "bf16"};

namespace detail {

/// One of the names that an option has.
template <std::size_t count>
std::string_view one_of(const std::array<std::string_view, count>& names, CommandLine& line) {
    const std::string option(line.word());
    const std::string_view name = line.value();
    const auto found = std::ranges::find(names, name);
    if (found != names.end()) return *found;
    std::string all;
    for (const std::string_view each : names) all += (all.empty() ? "" : ", ") + std::string(each);
    throw UsageError(option + " has no \"" + std::string(name) + "\"; it has " + all);
}

inline void check(const Options& options) {
    const ModelSizes& sizes = options.sizes;
    if (options.attention.soft_cap > 0 && options.attention.score != "scaled")
        throw UsageError("--soft-cap goes with --score scaled, not with " + std::string(options.attention.score));
    if (options.type == "bf16" && (options.attention.score != "scaled" || options.attention.soft_cap > 0))
        throw UsageError("--type bf16 goes with --score scaled, without --soft-cap");
    if (options.plan.dropout >= 1) throw UsageError("--dropout needs a share below 1");
    if (sizes.width % (2 * sizes.heads) != 0)
        throw UsageError("--width " + std::to_string(sizes.width) + " does not make " + std::to_string(sizes.heads) +
                         " heads of an even width");
}

}  // namespace detail

inline Options read_options(int count, char** words) {
    Options options;
    options.pictures = directory_of_program(words[0]);
    for (CommandLine line(count, words); line.next();) {
        const std::string_view word = line.word();
        if (options.take(line)) continue;
        if (word == "--score")
            options.attention.score = detail::one_of(scores, line);
        else if (word == "--type")
            options.type = detail::one_of(types, line);
        else if (word == "--soft-cap")
            options.attention.soft_cap = line.number(0.1);
        else if (word == "--text")
            options.text = line.value();
        else if (word == "--minutes")
            options.plan.minutes = line.number(0.01);
        else if (word == "--steps")
            options.plan.steps = line.whole_number(1);
        else if (word == "--layers")
            options.sizes.layers = line.whole_number(1, 1000);
        else if (word == "--heads")
            options.sizes.heads = line.whole_number(1, 1000);
        else if (word == "--width")
            options.sizes.width = line.whole_number(2, 100'000);
        else if (word == "--context")
            options.sizes.context = line.whole_number(2, 100'000);
        else if (word == "--dropout")
            options.plan.dropout = line.number(0);
        else if (word == "--rate")
            options.plan.rate = static_cast<float>(line.number(0, std::numeric_limits<float>::max()));
        else if (word == "--seed")
            options.plan.seed = static_cast<std::uint64_t>(line.whole_number(0));
        else if (word == "--check")
            options.check = true;
        else if (word == "--threads")
            options.plan.threads = line.whole_number(1);
        else if (word == "--sample")
            options.sample = line.whole_number(0);
        else if (word == "--prompt")
            options.prompt = line.value();
        else if (word == "--temperature")
            options.temperature = line.number(0.01);
        else if (word == "--pictures")
            options.pictures = line.value();
        else
            throw UsageError("there is no option " + std::string(word));
    }
    options.attention.heads = options.sizes.heads;
    if (options.weights.empty())
        options.weights = directory_of_program(words[0]) /
                          ("transformer_lm." + std::string(options.attention.score) +
                           (options.type == "float" ? "" : "." + std::string(options.type)) + ".safetensors");
    detail::check(options);
    return options;
}

}  // namespace transformer_lm

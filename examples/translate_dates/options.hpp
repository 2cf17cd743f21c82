#pragma once

#include "../support/command_line.hpp"
#include "../support/threads.hpp"
#include "training.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace translate_dates {

using namespace support;

inline constexpr std::string_view usage =
    R"(Translates dates as people write them into ISO 8601, by a small recurrent network with additive attention.

  translate_dates [options]              trains if need be, then translates a few samples
  translate_dates [options] TEXT...      translates TEXT: translate_dates Saturday, 3 May 1979

  --retrain         trains anew, whatever was saved
  --check PERCENT   trains anew, saves nothing, and fails unless that share of held-out dates comes out right
  --seed N          what the first weights and the dates of training are drawn by (default: 1)
  --rate R          the highest rate of learning (default: 0.006)
  --threads N       trains with N threads (default: 2, or 1 where there is but one); the result is the same
  --weights FILE    where trained weights are kept (default: translate_dates.safetensors beside the program)
  --svg FILE        where the picture of the alignment goes (default: translate_dates.svg beside the program)
  --short           checks itself in a few seconds, in a temporary directory
  --help            prints this

Conventions: 5/3/79 and 5-3-79 are month, day, year, unless the first is no month: 25/12/79. 3.5.79 is day, month, year.
A year of four digits may also come first. Two digits mean 1950 to 2049. A weekday is not checked.
The exit code is 0; 1 if the text is no date or a check fails; 2 if the options make no sense or a file cannot be
written; 3 if training, or what it has left, comes to a number that is not finite. Such training saves nothing.
)";

struct Options : ProgramOptions {
    std::string program;
    std::filesystem::path picture;
    TrainingPlan plan{.threads = default_threads()};
    std::optional<double> check;  // per cent
    std::optional<std::string> text;
};

/// Whether a word begins as no date does.
inline bool looks_like_option(std::string_view word) {
    return word.starts_with("--") || (word.size() > 1 && word[0] == '-' && lower_case(word[1]) >= 'a');
}

inline Options read_options(int count, char** words) {
    Options options;
    const std::filesystem::path here = directory_of_program(words[0]);
    options.program = words[0];
    options.weights = here / "translate_dates.safetensors";
    options.picture = here / "translate_dates.svg";

    for (CommandLine line(count, words); line.next();) {
        const std::string_view word = line.word();
        if (options.take(line)) continue;
        if (word == "--svg")
            options.picture = line.value();
        else if (word == "--check")
            options.check = line.number(0, 100);
        else if (word == "--seed")
            options.plan.seed = static_cast<std::uint64_t>(line.whole_number(0));
        else if (word == "--rate")
            options.plan.rate = static_cast<float>(line.number(0, std::numeric_limits<float>::max()));
        else if (word == "--threads")
            options.plan.threads = line.whole_number(1);
        else if (looks_like_option(word))
            throw UsageError("there is no option " + std::string(word));
        else
            options.text = options.text ? *options.text + " " + std::string(word) : std::string(word);
    }
    if (options.check && options.text) throw UsageError("--check goes without a text");
    return options;
}

}  // namespace translate_dates

#pragma once

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace translate_dates {

inline constexpr std::string_view usage =
    R"(Translates dates as people write them into ISO 8601, by a small recurrent network with additive attention.

  translate_dates [options]              trains if need be, then translates a few samples
  translate_dates [options] TEXT...      translates TEXT: translate_dates Saturday, 3 May 1979

  --retrain         trains anew, whatever was saved
  --threads N       trains with N threads (default: 2, or 1 where there is but one); the result is the same
  --weights FILE    where trained weights are kept (default: translate_dates.weights beside the program)
  --svg FILE        where the picture of the alignment goes (default: translate_dates.svg beside the program)
  --short           checks itself in a few seconds, in a temporary directory
  --help            prints this

Conventions: 5/3/79 and 5-3-79 are month, day, year, unless the first is no month: 25/12/79. 3.5.79 is day, month, year.
A year of four digits may also come first. Two digits mean 1950 to 2049. A weekday is not checked.
The exit code is 0, or 1 if the text is no date, or 2 if the options make no sense.
)";

struct Options {
    std::string program;
    std::filesystem::path weights;
    std::filesystem::path picture;
    int threads = 1;
    bool retrain = false;
    bool self_check = false;
    bool help = false;
    std::optional<std::string> text;
};

struct UsageError : std::runtime_error {
    explicit UsageError(const std::string& what) : std::runtime_error(what + "; --help lists the options") {}
};

inline std::filesystem::path directory_of_program(const char* called_as) {
    std::error_code failure;
    const std::filesystem::path program =
        std::filesystem::read_symlink("/proc/self/exe", failure);  // Linux alone has it
    return failure ? std::filesystem::absolute(called_as).parent_path() : program.parent_path();
}

inline Options read_options(int count, char** words) {
    Options options;
    const std::filesystem::path here = directory_of_program(words[0]);
    options.program = words[0];
    options.weights = here / "translate_dates.weights";
    options.picture = here / "translate_dates.svg";
    options.threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 2U));

    for (int i = 1; i < count; ++i) {
        const std::string_view word = words[i];
        const auto value = [&]() -> std::string_view {
            if (i + 1 == count) throw UsageError(std::string(word) + " needs a value");
            return words[++i];
        };
        if (word == "--help")
            options.help = true;
        else if (word == "--short")
            options.self_check = true;
        else if (word == "--retrain")
            options.retrain = true;
        else if (word == "--weights")
            options.weights = value();
        else if (word == "--svg")
            options.picture = value();
        else if (word == "--threads") {
            const std::string_view number = value();
            const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), options.threads);
            if (failure != std::errc() || end != number.data() + number.size() || options.threads < 1)
                throw UsageError("--threads needs a whole number above 0, not \"" + std::string(number) + "\"");
        } else if (word.starts_with("--"))
            throw UsageError("there is no option " + std::string(word));
        else
            options.text = options.text ? *options.text + " " + std::string(word) : std::string(word);
    }
    return options;
}

}  // namespace translate_dates

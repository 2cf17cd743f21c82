#pragma once

#include <charconv>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace support {

struct UsageError : std::runtime_error {
    explicit UsageError(const std::string& what) : std::runtime_error(what + "; --help lists the options") {}
};

inline std::filesystem::path directory_of_program(const char* called_as) {
    std::error_code failure;
    const std::filesystem::path program =
        std::filesystem::read_symlink("/proc/self/exe", failure);  // Linux alone has it
    return failure ? std::filesystem::absolute(called_as).parent_path() : program.parent_path();
}

/// The words behind a program's name, one after another.
class CommandLine {
public:
    CommandLine(int count, char** words) : count_(count), words_(words) {}

    bool next() { return ++place_ < count_; }
    std::string_view word() const { return words_[place_]; }

    /// The word behind the option that was read last.
    std::string_view value() {
        const std::string_view option = word();
        if (!next()) throw UsageError(std::string(option) + " needs a value");
        return word();
    }
    int whole_number(int least) {
        const std::string_view option = word();
        return read<int>(option, value(), least, "a whole number of at least ");
    }
    double number(double least) {
        const std::string_view option = word();
        return read<double>(option, value(), least, "a number of at least ");
    }

private:
    template <class Number>
    static Number read(std::string_view option, std::string_view text, Number least, std::string_view wanted) {
        Number number{};
        const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (failure != std::errc() || end != text.data() + text.size() || !(number >= least)) {
            std::string limit = std::to_string(least);
            if (limit.find('.') != std::string::npos) limit.erase(limit.find_last_not_of('0') + 1);
            if (limit.back() == '.') limit.pop_back();
            throw UsageError(std::string(option) + " needs " + std::string(wanted) + limit + ", not \"" +
                             std::string(text) + "\"");
        }
        return number;
    }

    int count_;
    char** words_;
    int place_ = 0;
};

/// The options that every program here has.
struct ProgramOptions {
    std::filesystem::path weights;
    bool retrain = false;
    bool self_check = false;
    bool help = false;

    /// Whether the line's word was one of them.
    bool take(CommandLine& line) {
        if (line.word() == "--help")
            help = true;
        else if (line.word() == "--short")
            self_check = true;
        else if (line.word() == "--retrain")
            retrain = true;
        else if (line.word() == "--weights")
            weights = line.value();
        else
            return false;
        return true;
    }
};

/// Reads the options and runs the program on them; the exit code is 2 where that throws.
template <class Read, class Run>
int run_program(std::string_view usage, Read&& read, Run&& run) {
    try {
        const auto options = read();
        if (!options.help) return run(options);
        std::cout << usage;
        return 0;
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 2;
    }
}

}  // namespace support

#pragma once

#include "finite.hpp"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <limits>
#include <new>
#include <sstream>
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
    int whole_number(int least, int most = std::numeric_limits<int>::max()) {
        const std::string_view option = word();
        return read(option, value(), least, most, "a whole number");
    }
    double number(double least, double most = std::numeric_limits<double>::max()) {
        const std::string_view option = word();
        return read(option, value(), least, most, "a number");
    }

private:
    template <class Number>
    static Number read(std::string_view option, std::string_view text, Number least, Number most,
                       std::string_view wanted) {
        Number number{};
        const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (failure == std::errc() && end == text.data() + text.size() && number >= least && number <= most)
            return number;
        std::ostringstream message;
        message << option << " needs " << wanted << " of at least " << least;
        if (most != std::numeric_limits<Number>::max()) message << " and at most " << most;
        message << ", not \"" << text << '"';
        throw UsageError(message.str());
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

/// What the programs here tell their caller by; 0 is success, and 1 a No of their own.
inline constexpr int unusable = 2, not_finite = 3;

/// Reads the options and runs the program on them; what it throws becomes a line on standard error and an exit code.
template <class Read, class Run>
int run_program(std::string_view usage, Read&& read, Run&& run) {
    try {
        const auto options = read();
        int code = 0;
        if (options.help)
            std::cout << usage;
        else
            code = run(options);
        if (!std::cout.flush()) throw std::runtime_error("standard output cannot be written");
        return code;
    } catch (const NotFinite& error) {
        std::cerr << error.what() << std::endl;
        return not_finite;
    } catch (const std::bad_alloc&) {
        std::cerr << "there is not enough memory for this" << std::endl;
        return unusable;
    } catch (const std::exception& error) {
        std::cerr << error.what() << std::endl;
        return unusable;
    }
}

}  // namespace support

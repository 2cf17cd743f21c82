// The levels that the library was built with, which are the arguments: each can be forced, and what cannot is refused
// in words. Each runs in a process of its own, since the first call decides.
#include <attend/dispatch.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

int failures = 0;

void expect(bool right, const std::string& what) {
    if (right) return;
    ++failures;
    std::printf("WRONG: %s\n", what.c_str());
}

/// What the first call says: the level, or the error.
std::string said() {
    const Eigen::MatrixXf q = Eigen::MatrixXf::Ones(3, 4), v{{1.f, 3.f}, {2.f, 4.f}};
    Eigen::MatrixXf out;
    try {
        attend::dispatched(attend::scaled_dot_product)(q, Eigen::MatrixXf::Ones(2, 4), v, out);
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    if ((out - Eigen::MatrixXf::Ones(3, 1) * v.colwise().mean()).norm() > 1e-6f) return "a wrong output";
    return std::string(attend::dispatch_level());
}
/// The same of a process with ATTEND_LEVEL=level.
std::string said_with(const char* program, const std::string& level) {
    const char* const runner = std::getenv("ATTEND_RUNNER");
    const std::string command =
        "ATTEND_LEVEL='" + level + "' " + (runner == nullptr ? "" : runner) + " '" + program + "'";
    std::string text;
    FILE* const pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return "no process";
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text.push_back(static_cast<char>(c));
    pclose(pipe);
    return text;
}

}  // namespace

int main(int count, char** arguments) {
    if (count == 1) return std::fputs(said().c_str(), stdout), 0;
    std::vector<std::string> levels(arguments + 1, arguments + count);
    const std::string best = said_with(arguments[0], "");
    bool is_there = false;
    std::string there;
    for (const std::string& level : levels) {
        const std::string words = said_with(arguments[0], level);
        const bool runs = words == level;
        std::printf("%s: %s\n", level.c_str(), runs ? "runs" : words.c_str());
        expect(runs || words.find("; this processor lacks ") != std::string::npos, level + ": " + words);
        expect(runs || words.find("attend: ATTEND_LEVEL is " + level + ", but there is ") == 0, words);
        if (runs) there = level;
        is_there = is_there || level == best;
    }
    expect(is_there && best == there, "without a wish the highest level that runs, " + there + ", not " + best);
    const std::string unknown = said_with(arguments[0], "avx3");
    expect(unknown.find("attend: ATTEND_LEVEL is avx3, but there is " + levels[0]) == 0, unknown);

    // What it takes until the first call's level is known, in a process that has not asked yet.
    const auto start = std::chrono::steady_clock::now();
    const std::string level(attend::dispatch_level());
    const auto first = std::chrono::steady_clock::now();
    for (int i = 0; i < 1000; ++i) static_cast<void>(attend::dispatch_level());
    const auto end = std::chrono::steady_clock::now();
    const auto microseconds = [](auto time) { return std::chrono::duration<double, std::micro>(time).count(); };
    std::printf("level %s; asked first in %.1f us, afterwards in %.4f us; nothing runs before main\n", level.c_str(),
                microseconds(first - start), microseconds(end - first) / 1000);
    return failures == 0 ? 0 : 1;
}

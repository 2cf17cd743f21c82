#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace support {

inline bool is_terminal() {
#if defined(_WIN32)
    return _isatty(_fileno(stdout)) != 0;
#else
    return isatty(fileno(stdout)) != 0;
#endif
}

/// Colours only where somebody looks who has not asked for none (https://no-color.org).
inline bool wants_colours() {
    const char* refused = std::getenv("NO_COLOR");
    return is_terminal() && (refused == nullptr || *refused == '\0');
}

/// One line that is drawn anew in a terminal, and a line for each tenth of the way in a file.
class ProgressBar {
public:
    ProgressBar() = default;
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;
    /// What is said next, of training that broke off too, begins a line.
    ~ProgressBar() {
        if (terminal_ && part_ >= 0 && part_ < 200) std::cout << std::endl;
    }

    /// `done` is the share of the way, from 0 to 1; `more` stands behind the loss.
    void show(double done, float loss, const std::string& more = "") {
        mean_loss_ = part_ < 0 ? loss : 0.95f * mean_loss_ + 0.05f * loss;
        const int part = static_cast<int>(done * (terminal_ ? 200 : 10) + 1e-9);
        if (part == std::exchange(part_, part) || (part == 0 && !terminal_)) return;

        constexpr int width = 30;
        const double seconds = seconds_since_start();
        std::ostringstream line;
        line << "training [";
        for (int i = 0; i < width; ++i) line << (i < static_cast<int>(done * width + 1e-9) ? '#' : '.');
        line << "] " << std::setw(3) << static_cast<int>(100 * done + 1e-9) << " %  loss " << std::fixed
             << std::setprecision(4) << mean_loss_ << more << std::setprecision(0) << "  " << seconds << " s";
        if (done > 0) line << ", " << seconds * (1 - done) / done << " s to go";
        if (terminal_)
            std::cout << '\r' << line.str() << "   " << (done >= 1 ? "\n" : "") << std::flush;
        else
            std::cout << line.str() << std::endl;
    }

    double seconds_since_start() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

private:
    using Clock = std::chrono::steady_clock;

    int part_ = -1;  // of 200 or 10: the one that was shown last
    bool terminal_ = is_terminal();
    float mean_loss_ = 0;  // over the latest steps or so
    Clock::time_point start_ = Clock::now();
};

}  // namespace support

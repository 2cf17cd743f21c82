#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace translate_dates {

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
    explicit ProgressBar(int steps) : steps_(steps) {}

    void show(int done, float loss) {
        mean_loss_ = done == 1 ? loss : 0.95f * mean_loss_ + 0.05f * loss;
        const int parts = terminal_ ? 200 : 10;
        if (done * parts / steps_ == (done - 1) * parts / steps_) return;

        constexpr int width = 30;
        const double seconds = seconds_since_start();
        std::ostringstream line;
        line << "training [";
        for (int i = 0; i < width; ++i) line << (i < done * width / steps_ ? '#' : '.');
        line << "] " << std::setw(3) << done * 100 / steps_ << " %  loss " << std::fixed << std::setprecision(4)
             << mean_loss_ << std::setprecision(0) << "  " << seconds << " s, " << seconds * (steps_ - done) / done
             << " s to go";
        if (terminal_)
            std::cout << '\r' << line.str() << "   " << (done == steps_ ? "\n" : "") << std::flush;
        else
            std::cout << line.str() << std::endl;
    }

    double seconds_since_start() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

private:
    using Clock = std::chrono::steady_clock;

    int steps_;
    bool terminal_ = is_terminal();
    float mean_loss_ = 0;  // over the latest steps or so
    Clock::time_point start_ = Clock::now();
};

}  // namespace translate_dates

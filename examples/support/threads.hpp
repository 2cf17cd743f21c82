#pragma once

#include <Eigen/Core>

#include <algorithm>
#include <thread>
#include <vector>

namespace support {

/// An executor in the sense of attend (core/executor.hpp) in a dozen lines. It starts its threads anew at each call,
/// some 20 us each: little beside the step of training that they share here, too much for a single small attention.
struct Threads {
    int count = 1;

    Eigen::Index concurrency() const { return count; }

    /// Calls work(0) ... work(tasks - 1).
    template <class Work>
    void parallel_for(Eigen::Index tasks, Work&& work) const {
        const Eigen::Index workers = std::min<Eigen::Index>(count, tasks);
        const auto every_nth = [&](Eigen::Index first) {
            for (Eigen::Index task = first; task < tasks; task += workers) work(task);
        };
        std::vector<std::thread> others;
        for (Eigen::Index worker = 1; worker < workers; ++worker) others.emplace_back(every_nth, worker);
        every_nth(0);
        for (std::thread& other : others) other.join();
    }
};

/// What an example may take without asking.
inline int default_threads() { return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 2U)); }

}  // namespace support

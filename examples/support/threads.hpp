#pragma once

#include <Eigen/Core>

#include <algorithm>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace support {

/// An executor in the sense of attend (core/executor.hpp). It starts its threads anew at each call, some 20 us each:
/// little beside the step of training that they share here, too much for a single small attention.
struct Threads {
    int count = 1;

    Eigen::Index concurrency() const { return count; }

    /// Calls work(0) ... work(tasks - 1). What the first of them to fail throws is thrown here, once all threads have
    /// ended; a thread that the system refuses has its share done by this one.
    template <class Work>
    void parallel_for(Eigen::Index tasks, Work&& work) const {
        const Eigen::Index workers = std::min<Eigen::Index>(count, tasks);
        std::exception_ptr failure;
        std::mutex failing;
        const auto every_nth = [&](Eigen::Index first) noexcept {
            try {
                for (Eigen::Index task = first; task < tasks; task += workers) work(task);
            } catch (...) {
                const std::lock_guard lock(failing);
                if (!failure) failure = std::current_exception();
            }
        };
        std::vector<std::thread> others;
        others.reserve(static_cast<std::size_t>(std::max<Eigen::Index>(workers, 1) - 1));
        for (Eigen::Index worker = 1; worker < workers; ++worker) {
            try {
                others.emplace_back(every_nth, worker);
            } catch (const std::system_error&) {
                every_nth(worker);
            }
        }
        every_nth(0);
        for (std::thread& other : others) other.join();
        if (failure) std::rethrow_exception(failure);
    }
};

/// What an example may take without asking.
inline int default_threads() { return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 2U)); }

}  // namespace support

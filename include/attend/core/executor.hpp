#pragma once
/// \file
/// Executors: where the threads come from. The library starts none of its own.
///
/// An executor is any object with `Index concurrency() const` and `void parallel_for(Index count, f)`, which calls
/// `f(Index)` once for each of 0 … count−1, in any order, on any threads, and returns when all are done. Calls ask for
/// at most `concurrency()` at a time and give the same bits whatever that number is.

#include <algorithm>
#include <atomic>
#include <concepts>
#include <condition_variable>
#include <memory>
#include <mutex>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <attend/core/errors.hpp>

namespace attend::inline ATTEND_ABI {

/// Runs everything on the calling thread.
struct SerialExecutor {
    Index concurrency() const { return 1; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        for (Index i = 0; i < count; ++i) f(i);
    }
};
inline constexpr SerialExecutor serial{};

/// `openmp(n)`: a team of n OpenMP threads for each call.
struct OpenMPExecutor {
    int threads = 1;

    Index concurrency() const { return threads; }
    template <class F>
    void parallel_for([[maybe_unused]] Index count, [[maybe_unused]] F&& f) const {
#if defined(_OPENMP)
        // Shared out by hand, since `parallel for` of LLVM's runtime allocates each time.
#pragma omp parallel num_threads(threads)
        for (Index i = omp_get_thread_num(); i < count; i += omp_get_num_threads()) f(i);
#else
        static_assert(sizeof(F) == 0, "attend: openmp(n) needs a build with OpenMP (-fopenmp)");
#endif
    }
};
inline OpenMPExecutor openmp(int threads) {
    detail::require(threads > 0, "openmp: needs at least one thread, got ", threads);
    return {threads};
}

/// `thread_pool(pool)`: the calling thread and the threads of a pool with `NumThreads()` and `Schedule(task)`, such as
/// `Eigen::ThreadPool`. The pool must outlive the executor, and its tasks must not wait for the call that uses it.
template <class Pool>
class ThreadPoolExecutor {
public:
    explicit ThreadPoolExecutor(Pool& pool) : pool_(&pool) {}

    Index concurrency() const { return static_cast<Index>(pool_->NumThreads()) + 1; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        if (count <= 0) return;
        Pending pending{.left = count - 1};
        for (Index i = 1; i < count; ++i) {
            pool_->Schedule([&f, &pending, i] {
                f(i);
                pending.finish_one();
            });
        }
        f(Index(0));
        pending.wait();
    }

private:
    /// Counts tasks down on the stack of the caller, who destroys it as soon as none is left: so the last task notifies
    /// under the lock. A std::latch or an atomic would be notified after the caller may have gone.
    struct Pending {
        Index left;
        std::mutex lock{};
        std::condition_variable done{};

        void finish_one() {
            const std::lock_guard guard(lock);
            if (--left == 0) done.notify_one();
        }
        void wait() {
            std::unique_lock guard(lock);
            while (left != 0) done.wait(guard);
        }
    };

    Pool* pool_;
};
template <class Pool>
ThreadPoolExecutor<Pool> thread_pool(Pool& pool) {
    return ThreadPoolExecutor<Pool>(pool);
}

namespace detail {

/// Any executor, borrowed for the length of one call.
class ExecutorRef {
public:
    template <class Executor>
        requires(!std::same_as<std::remove_cvref_t<Executor>, ExecutorRef>)
    ExecutorRef(Executor&& executor)  // NOLINT(google-explicit-constructor): options take any executor
        : executor_(const_cast<void*>(static_cast<const void*>(std::addressof(executor)))),
          concurrency_(std::max<Index>(1, static_cast<Index>(executor.concurrency()))),
          parallel_for_([](void* object, Index count, void* task, void (*run)(void*, Index)) {
              static_cast<std::remove_reference_t<Executor>*>(object)->parallel_for(
                  count, [task, run](Index i) { run(task, i); });
          }) {}

    Index concurrency() const { return concurrency_; }

    /// Calls `f(task, worker)` once for each task; tasks of one worker follow each other, so a worker may own scratch.
    template <class F>
    void for_each(Index tasks, F&& f) const {
        const Index workers = concurrency_ < tasks ? concurrency_ : tasks;
        if (workers <= 1) {
            for (Index task = 0; task < tasks; ++task) f(task, Index(0));
            return;
        }
        std::atomic<Index> next{0};
        auto work = [&](Index worker) {
            for (Index task = next++; task < tasks; task = next++) f(task, worker);
        };
        parallel_for_(executor_, workers, &work,
                      [](void* object, Index worker) { (*static_cast<decltype(work)*>(object))(worker); });
    }

private:
    void* executor_;
    Index concurrency_;
    void (*parallel_for_)(void*, Index, void*, void (*)(void*, Index));
};

}  // namespace detail
}  // namespace attend

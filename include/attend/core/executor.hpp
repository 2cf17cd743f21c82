#pragma once
/// \file
/// Executors: where the threads come from. The library starts none of its own.
///
/// An executor is any object with `Index concurrency() const` and `void parallel_for(Index count, f)`, which calls
/// `f(Index)` once for each of 0 … count−1, in any order, on any threads, and returns, or throws, when all are done.
/// Calls ask for at most `concurrency()` at a time and give the same bits whatever that number is. The f of a call
/// never throws: what a functor throws is kept until all workers have ended, and then reaches the caller.

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <attend/core/errors.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// The first exception of several threads, which must not leave a thread that the caller is not on.
class FirstException {
public:
    /// Calls `f`; keeps what it throws and then returns false.
    template <class F>
    bool run(F&& f) {
#if ATTEND_HAS_EXCEPTIONS
        try {
            f();
        } catch (...) {
            if (!taken_.test_and_set()) first_ = std::current_exception();
            return false;
        }
#else
        f();
#endif
        return true;
    }
    /// To be called when all threads have ended.
    void rethrow() {
#if ATTEND_HAS_EXCEPTIONS
        if (first_) std::rethrow_exception(std::move(first_));
#endif
    }

private:
#if ATTEND_HAS_EXCEPTIONS
    std::atomic_flag taken_{};
    std::exception_ptr first_;
#endif
};

}  // namespace detail

/// Runs everything on the calling thread.
struct SerialExecutor {
    Index concurrency() const { return 1; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        for (Index i = 0; i < count; ++i) f(i);
    }
};
/// The executor of a call to which none was given.
inline constexpr SerialExecutor serial{};

/// `openmp(n)`: a team of n OpenMP threads for each call.
struct OpenMPExecutor {
    int threads = 1;  ///< of a call's team

    Index concurrency() const { return threads; }
    template <class F>
    void parallel_for([[maybe_unused]] Index count, [[maybe_unused]] F&& f) const {
#if defined(_OPENMP)
        // Shared out by hand, since `parallel for` of LLVM's runtime allocates each time.
        detail::FirstException thrown;
#pragma omp parallel num_threads(threads)
        thrown.run([&] {
            for (Index i = omp_get_thread_num(); i < count; i += omp_get_num_threads()) f(i);
        });
        thrown.rethrow();
#else
        static_assert(sizeof(F) == 0, "attend: openmp(n) needs a build with OpenMP (-fopenmp)");
#endif
    }
};
/// `.executor = openmp(2)`. Throws unless there is at least one thread.
inline OpenMPExecutor openmp(int threads) {
    detail::require(threads > 0, "openmp: needs at least one thread, got ", threads);
    return {threads};
}

/// `thread_pool(pool)`: the calling thread and the threads of a pool with `NumThreads()` and `Schedule(task)`, such as
/// `Eigen::ThreadPool`. The pool must outlive the executor, and its tasks must not wait for the call that uses it.
template <class Pool>
class ThreadPoolExecutor {
public:
    /// Borrows the pool.
    explicit ThreadPoolExecutor(Pool& pool) : pool_(&pool) {}

    Index concurrency() const { return static_cast<Index>(pool_->NumThreads()) + 1; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        if (count <= 0) return;
        Pending pending{.left{count - 1}};
        Index next = 1;
        const bool all = pending.thrown.run([&] {
            for (; next < count; ++next) {
                pool_->Schedule([&f, &pending, i = next] {
                    pending.thrown.run([&] { f(i); });
                    pending.finish(1);
                });
            }
        });
        if (all) {
            pending.thrown.run([&] { f(Index(0)); });
        } else {
            pending.finish(count - next);  // the pool had no room for them
        }
        pending.wait();
        pending.thrown.rethrow();
    }

private:
    /// Counts tasks down on the stack of the caller, who destroys it as soon as none is left: so the last task notifies
    /// under the lock, which the caller takes before it goes. A std::latch, or the counter alone, would be notified
    /// after the caller may have gone; a condition variable takes a tenth of the library's time to compile.
    struct Pending {
        std::atomic<Index> left;
        std::mutex lock{};
        detail::FirstException thrown{};

        void finish(Index tasks) {
            const std::lock_guard guard(lock);
            if (left.fetch_sub(tasks) == tasks) left.notify_one();
        }
        void wait() {
            for (Index now = left; now != 0; now = left) left.wait(now);
            const std::lock_guard guard(lock);
        }
    };

    Pool* pool_;
};
/// `.executor = thread_pool(pool)`. Borrows the pool.
template <class Pool>
ThreadPoolExecutor<Pool> thread_pool(Pool& pool) {
    return ThreadPoolExecutor<Pool>(pool);
}

namespace detail {

/// The library's own executors, which are values.
template <class Executor>
inline constexpr bool is_value_executor =
    std::is_same_v<Executor, SerialExecutor> || std::is_same_v<Executor, OpenMPExecutor>;
template <class Pool>
inline constexpr bool is_value_executor<ThreadPoolExecutor<Pool>> = true;

/// Any executor: the library's own and small temporaries by value, so that options may be stored; others borrowed.
class ExecutorRef {
public:
    template <class Given>
        requires(!std::same_as<std::remove_cvref_t<Given>, ExecutorRef>)
    ExecutorRef(Given&& executor)  // NOLINT(google-explicit-constructor): options take any executor
        : concurrency_(std::max<Index>(1, static_cast<Index>(executor.concurrency()))) {
        using Executor = std::remove_cvref_t<Given>;
        constexpr bool temporary = !std::is_lvalue_reference_v<Given>;
        constexpr bool fits = std::is_trivially_copyable_v<Executor> && sizeof(Executor) <= sizeof storage_ &&
                              alignof(Executor) <= alignof(void*);
        static_assert(fits || !temporary,
                      "attend: this executor is a temporary and too large to be kept in the options: give it a name, "
                      "so that it outlives them");
        if constexpr (fits && (temporary || is_value_executor<Executor>)) {
            if constexpr (!std::is_empty_v<Executor>) ::new (static_cast<void*>(&storage_)) Executor(executor);
            parallel_for_ = [](void* storage, Index count, void* task, void (*run)(void*, Index)) {
                std::launder(static_cast<Executor*>(storage))->parallel_for(count, [task, run](Index i) {
                    run(task, i);
                });
            };
        } else if constexpr (!temporary) {
            using Borrowed = std::remove_reference_t<Given>;
            storage_ = const_cast<Executor*>(std::addressof(executor));
            parallel_for_ = [](void* storage, Index count, void* task, void (*run)(void*, Index)) {
                static_cast<Borrowed*>(*static_cast<void**>(storage))->parallel_for(count, [task, run](Index i) {
                    run(task, i);
                });
            };
        }
    }

    Index concurrency() const { return concurrency_; }

    /// Calls `f(task, worker)` once for each task; tasks of one worker follow each other, so a worker may own scratch.
    /// Where f throws, the first exception is thrown again when all workers have ended; tasks may be left out then.
    template <class F>
    void for_each(Index tasks, F&& f) const {
        const Index workers = concurrency_ < tasks ? concurrency_ : tasks;
        if (workers <= 1) {
            for (Index task = 0; task < tasks; ++task) f(task, Index(0));
            return;
        }
        run_on_workers(tasks, workers, std::addressof(f), [](void* object, Index task, Index worker) {
            (*static_cast<std::remove_reference_t<F>*>(object))(task, worker);
        });
    }

private:
    /// Apart from the loop above: a small call is slower for every register that this would take. Of f only the address
    /// is known, so that threads and exceptions are compiled once, not for each f.
    ATTEND_NOINLINE void run_on_workers(Index tasks, Index workers, void* f, void (*call)(void*, Index, Index)) const {
        struct Work {
            Index tasks;
            void* f;
            void (*call)(void*, Index, Index);
            std::atomic<Index> next{0};
            FirstException thrown{};
        } work{.tasks = tasks, .f = f, .call = call};
        parallel_for_(&storage_, workers, &work, [](void* object, Index worker) {
            Work& w = *static_cast<Work*>(object);
            const bool all = w.thrown.run([&w, worker] {
                for (Index task = w.next++; task < w.tasks; task = w.next++) w.call(w.f, task, worker);
            });
            if (!all) w.next = w.tasks;  // the others end after the tasks they are at
        });
        work.thrown.rethrow();
    }

    mutable void* storage_ = nullptr;  ///< the executor's address, or the executor itself in place of it
    Index concurrency_;
    void (*parallel_for_)(void*, Index, void*, void (*)(void*, Index)) = nullptr;
};

}  // namespace detail
}  // namespace attend

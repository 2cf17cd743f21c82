// needs: openmp
// needs: threads

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <attend/attention.hpp>
#include <attend/mask/causal.hpp>
#include <attend/modifier/lambda.hpp>
#include <attend/normalizer/sink.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_executor {
namespace {

/// A user's executor: a thread for every task.
struct ThreadPerTask {
    Index workers = 1;
    std::atomic<Index>* largest_count = nullptr;

    Index concurrency() const { return workers; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        if (largest_count != nullptr) *largest_count = std::max(largest_count->load(), count);
        std::vector<std::thread> threads;
        for (Index i = 0; i < count; ++i) threads.emplace_back([&f, i] { f(i); });
        for (std::thread& thread : threads) thread.join();
    }
};

/// Every index of a parallel loop comes once, whatever the count.
template <class Executor>
void check_each_index_once(const Executor& executor) {
    for (const Index count : {0, 1, 2, 3, 7, 100}) {
        std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
        executor.parallel_for(count, [&](Index i) { ++calls[static_cast<std::size_t>(i)]; });
        CAPTURE(count);
        CHECK(std::all_of(calls.begin(), calls.end(), [](const auto& n) { return n == 1; }));
    }
}

/// What f throws on any thread reaches the caller, and not before every f that has begun has ended.
template <class Executor>
void check_exceptions_of_loop(const Executor& executor) {
    for (const Index thrower : {0, 1, 6}) {
        std::atomic<int> running = 0;
        std::string text;
        try {
            executor.parallel_for(7, [&](Index i) {
                ++running;
                std::this_thread::sleep_for(std::chrono::milliseconds(i == thrower ? 0 : 5));
                --running;
                if (i == thrower) throw std::runtime_error("task " + std::to_string(i));
            });
        } catch (const std::runtime_error& error) {
            text = error.what();
        }
        CAPTURE(thrower);
        CHECK(text == "task " + std::to_string(thrower));
        CHECK(running == 0);
    }
}

/// The same of a functor that throws in a call, on every worker or on one, forward and backward; and the next call is
/// as good as any.
template <class Executor>
void check_exceptions_of_calls(const Executor& executor, Index throwing_head) {
    struct Thrown {
        Index head;
    };
    std::atomic<int> running = 0;
    std::atomic<bool> armed = false;
    const auto attention = scaled_dot_product >> modifier([&](auto s, const Position& p) {
                               ++running;
                               // Not for every pair: beside other processes each may take a slice of time.
                               if (armed && p.key == 0) std::this_thread::yield();
                               --running;
                               if (armed && (throwing_head < 0 || p.head == throwing_head)) throw Thrown{p.head};
                               return s;
                           });
    const Operands<double> x = random_operands({.queries = 12, .keys = 15, .heads = 6, .kv_heads = 3}, 1);
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    const auto check_throws = [&](auto&& call) {
        armed = true;
        Index head = -1;
        try {
            call();
        } catch (const Thrown& thrown) {
            head = thrown.head;
        }
        armed = false;
        CHECK(running == 0);
        CHECK((throwing_head < 0 ? head >= 0 : head == throwing_head));
    };
    check_throws([&] { forward(attention, x, executor); });
    CHECK(first_difference(forward(attention, x, executor), y) == "");
    check_throws([&] {
        auto gradients = d;
        add_gradients(attention, x, y, gradients, executor);
    });
    CHECK(first_difference(backward(attention, x, executor), d) == "");
}
template <class Executor>
void check_exceptions(const Executor& executor) {
    check_exceptions_of_loop(executor);
    check_exceptions_of_calls(executor, -1);
    check_exceptions_of_calls(executor, 0);
    check_exceptions_of_calls(executor, 5);
}

/// A pool that has room for a few tasks only.
struct SmallPool {
    Eigen::ThreadPool pool{2};
    int room = 0;

    int NumThreads() const { return 4; }
    template <class Task>
    void Schedule(Task task) {
        if (room-- <= 0) throw std::length_error("no room");
        pool.Schedule(task);
    }
};

/// Tasks come once each too, at most `concurrency` at a time, and a worker has one task at a time: it may own scratch.
template <class Executor>
void check_workers(const Executor& executor) {
    const attend::detail::ExecutorRef ref(executor);
    const Index workers = executor.concurrency();
    CHECK(ref.concurrency() == workers);
    for (const Index tasks : {0, 1, 2, 5, 100}) {
        std::vector<std::atomic<int>> calls(static_cast<std::size_t>(tasks)), busy(static_cast<std::size_t>(workers));
        std::atomic<int> wrong = 0;
        ref.for_each(tasks, [&](Index task, Index worker) {
            if (worker < 0 || worker >= std::min(workers, tasks)) return void(++wrong);
            if (++busy[static_cast<std::size_t>(worker)] != 1) ++wrong;
            ++calls[static_cast<std::size_t>(task)];
            std::this_thread::yield();
            --busy[static_cast<std::size_t>(worker)];
        });
        CAPTURE(tasks, workers);
        CHECK(wrong == 0);
        CHECK(std::all_of(calls.begin(), calls.end(), [](const auto& n) { return n == 1; }));
    }
}

template <class Executor>
void check_contract(const Executor& executor) {
    check_each_index_once(executor);
    check_workers(executor);
}

const Layout many_heads{
    .queries = 12, .keys = 15, .heads = 6, .kv_heads = 3, .sequences = {0, 4, 5, 12}, .key_sequences = {0, 5, 9, 15}};

/// Everything but the parameters' gradients: tests/laws/parameter_threads.cpp has those.
template <class A>
Gradients<double, A> backward_on(const A& attention, const Operands<double>& x, attend::detail::ExecutorRef executor) {
    const auto y = forward(attention, x);
    Gradients<double, A> d{.parameters = zero_gradient(attention)};
    attention.backward(x.query_heads(), x.key_heads(), x.value_heads(), y.out, y.lse, x.dout, d.dq, d.dk, d.dv,
                       {.executor = executor,
                        .sequences = sequences(x.layout.sequences),
                        .key_sequences = sequences(x.layout.key_sequences)});
    return d;
}

}  // namespace

TEST_CASE("executors call each index once") {
    check_contract(serial);
    check_contract(ThreadPerTask{1});
    check_contract(ThreadPerTask{5});
    Eigen::ThreadPool one(1), three(3);
    check_contract(thread_pool(one));
    check_contract(thread_pool(three));
#if defined(_OPENMP)
    check_contract(openmp(1));
    check_contract(openmp(3));
#else
    WARN("NOT RUN: openmp(n): this build has no OpenMP");
#endif
}

TEST_CASE("a pool lends its threads and the caller's own") {
    Eigen::ThreadPool pool(3);
    CHECK(thread_pool(pool).concurrency() == 4);
    CHECK(serial.concurrency() == 1);
    CHECK(openmp(7).concurrency() == 7);
    CHECK_THROWS_MATCHES(openmp(0), std::invalid_argument,
                         Catch::Matchers::Message("attend: openmp: needs at least one thread, got 0"));

    std::mutex lock;
    std::set<std::thread::id> threads;
    thread_pool(pool).parallel_for(200, [&](Index) {
        const std::lock_guard guard(lock);
        threads.insert(std::this_thread::get_id());
    });
    CHECK(threads.count(std::this_thread::get_id()) == 1);
    CHECK(threads.size() <= 4);
}

TEST_CASE(
    "calls have the same bits for 1, 2, 3 and 8 workers, forward and backward, and ask for no more than there are") {
    const auto attention = scaled_dot_product >> causal >> softmax_with_sink(0.5);
    const Operands<double> x = random_operands(many_heads, 1);
    const auto y = forward(attention, x);
    const auto d = backward_on(attention, x, serial);
    Eigen::ThreadPool pool(2);
    CHECK(first_difference(forward(attention, x, thread_pool(pool)), y) == "");
    CHECK(first_difference(backward_on(attention, x, thread_pool(pool)), d) == "");
    for (const Index workers : {1, 2, 3, 8}) {
        CAPTURE(workers);
        std::atomic<Index> most = 0;
        const ThreadPerTask executor{workers, &most};
        CHECK(first_difference(forward(attention, x, executor), y) == "");
        CHECK(first_difference(backward_on(attention, x, executor), d) == "");
        CHECK(most == (workers == 1 ? 0 : workers));
#if defined(_OPENMP)
        CHECK(first_difference(forward(attention, x, openmp(static_cast<int>(workers))), y) == "");
        CHECK(first_difference(backward_on(attention, x, openmp(static_cast<int>(workers))), d) == "");
#endif
    }
}

TEST_CASE("the first exception reaches the caller from every executor, after all workers have ended") {
    Eigen::ThreadPool one(1), three(3);
    check_exceptions(thread_pool(one));
    check_exceptions(thread_pool(three));
    for (const Index workers : {1, 3}) {  // a user's own, which knows nothing of exceptions
        const ThreadPerTask executor{workers};
        check_exceptions_of_calls(executor, -1);
        check_exceptions_of_calls(executor, 0);
        check_exceptions_of_calls(executor, 5);
    }
    check_exceptions_of_calls(serial, -1);
#if defined(_OPENMP)
    check_exceptions(openmp(1));
    check_exceptions(openmp(3));
#endif
}

TEST_CASE("a pool that takes no more tasks is waited for, and its exception reaches the caller") {
    for (const int room : {0, 1, 3}) {
        SmallPool pool{.room = room};
        std::atomic<int> calls = 0;
        CHECK_THROWS_AS(thread_pool(pool).parallel_for(5,
                                                       [&](Index) {
                                                           std::this_thread::sleep_for(std::chrono::milliseconds(2));
                                                           ++calls;
                                                       }),
                        std::length_error);
        CHECK(calls == room);
    }
}

}  // namespace test_executor

#pragma once
/// \file
/// Registering and timing.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace attend::bench {

/// Registers `f(state)`, which may keep what it finds out for its next call: Google Benchmark calls it several times.
template <class F>
benchmark::internal::Benchmark* add_benchmark(const std::string& name, F f) {
    return benchmark::RegisterBenchmark(name.c_str(), std::move(f))->Unit(benchmark::kMicrosecond);
}

inline double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Runs `f` as often as `state` asks for; returns the seconds of one call.
template <class F>
double timed(benchmark::State& state, F&& f) {
    const double start = now();
    for (auto _ : state) {
        f();
        benchmark::ClobberMemory();
    }
    return (now() - start) / static_cast<double>(state.iterations());
}

template <class F>
double seconds_of(F&& f) {
    const double start = now();
    f();
    benchmark::ClobberMemory();
    return now() - start;
}

/// Figures of `measure()`, in rising order: at least 5 of them, and 50 milliseconds' worth.
template <class Measure>
std::vector<double> sorted_figures(Measure&& measure) {
    std::vector<double> figures;
    for (const double start = now(); figures.size() < 5 || now() - start < 0.05;) figures.push_back(measure());
    std::sort(figures.begin(), figures.end());
    return figures;
}

/// The shortest time that `f` takes.
template <class F>
double least_seconds(F&& f) {
    return sorted_figures([&] { return seconds_of(f); }).front();
}

/// How many times as long `f` takes as `g`: the median over pairs of calls, so that what slows the machine down meets
/// both.
template <class F, class G>
double times_as_long(F&& f, G&& g) {
    const std::vector<double> ratios = sorted_figures([&] {
        const double seconds = seconds_of(f);
        return seconds / seconds_of(g);
    });
    return ratios[ratios.size() / 2];
}

}  // namespace attend::bench

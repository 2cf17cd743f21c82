#pragma once
/// \file
/// An attention as a pair of benchmarks: `FAMILY/REST`, checked before it is timed, and `naive/REST`, the plain Eigen
/// expression.

#include <limits>
#include <optional>
#include <string>
#include <type_traits>

#include <measure.hpp>
#include <naive.hpp>

namespace attend::bench {

/// What is exact beside a computation in T.
template <class T>
using Exact = std::conditional_t<std::is_same_v<T, double>, long double, double>;

/// The largest relative error of rounding to T. Not by Eigen::NumTraits: Eigen 3.4 is wrong about half.
template <class T>
inline constexpr double rounding = std::numeric_limits<T>::epsilon() / 2;
template <>
inline constexpr double rounding<Eigen::half> = 0x1p-11;
template <>
inline constexpr double rounding<Eigen::bfloat16> = 0x1p-8;

/// Law 10: the error of what was computed in T, over what it may be; at most 1 where the law holds.
template <class T, class Actual, class Naive>
double share_of_allowed_error(const Actual& actual, const Naive& naive, const Matrix<Exact<T>>& exact) {
    const auto distance = [&](const auto& x) {
        return (x.template cast<Exact<T>>() - exact).cwiseAbs().template maxCoeff<Eigen::PropagateNaN>();
    };
    const auto allowed = 2 * distance(naive) + Exact<T>(rounding<T>) * exact.cwiseAbs().maxCoeff();
    return static_cast<double>(distance(actual) / allowed);
}

/// The same for the output that stands in x, at some of its rows.
template <class AnyOperands, class Scores>
double share_of_allowed_error(const AnyOperands& x, const Scores& scores) {
    using T = typename AnyOperands::Scalar;
    const Index n = x.q.view.rows, width = x.v.view.columns;
    const Rows rows = spread_rows(n, std::min<Index>(n, 128));
    const Matrix<Exact<T>> exact = naive_rows<Exact<T>>(x, rows, scores);
    Matrix<T> actual(exact.rows(), exact.cols());
    for_each_head(x, [&](Index s, Index h) {
        actual.middleCols((s * x.q.view.heads + h) * width, width) = picked<T>(x.out.head(s, h), rows);
    });
    return share_of_allowed_error<T>(actual, naive_rows<Compute<T>>(x, rows, scores), exact);
}

/// Fails the benchmark where the law does not hold.
inline bool holds(benchmark::State& state, double share_of_allowed_error) {
    if (share_of_allowed_error <= 1) return true;  // not so for NaN
    const std::string text = "wrong: the error is " + std::to_string(share_of_allowed_error) + " of what law 10 allows";
    state.SkipWithError(text.c_str());
    return false;
}

inline constexpr auto no_report = [](benchmark::State&, auto&, double) {};

/// `make()` gives operands, `scores` says what `attention` must agree with, and `report(state, operands, seconds)` may
/// add counters.
template <class Make, class Attention, class Scores, class Report = decltype(no_report)>
benchmark::internal::Benchmark* add_attention(const std::string& name, Make make, Attention attention, Scores scores,
                                              Report report = {}) {
    const auto run = [=, share = std::optional<double>()](benchmark::State& state) mutable {
        auto x = make();
        x.run(attention);  // warms the workspace
        if (!share) share = share_of_allowed_error(x, scores);
        if (!holds(state, *share)) return;
        const double seconds = timed(state, [&] { x.run(attention); });
        report(state, x, seconds);
    };
    return add_benchmark(name, run);
}

template <class Make, class Scores>
benchmark::internal::Benchmark* add_naive(const std::string& rest, Make make, Scores scores) {
    return add_benchmark("naive/" + rest, [=](benchmark::State& state) {
        auto x = make();
        const Rows rows = all_rows(x.q.view.rows);
        Eigen::setNbThreads(x.threads);
        timed(state, [&] { run_naive(x, rows, scores); });
        Eigen::setNbThreads(1);
    });
}

template <class Make, class Attention, class Scores, class Report = decltype(no_report)>
void add_pair(const std::string& family, const std::string& rest, Make make, Attention attention, Scores scores,
              Report report = {}) {
    add_attention(family + "/" + rest, make, attention, scores, report);
    add_naive(rest, make, scores);
}

/// Reports what an attention costs over plain scaled dot-product attention on the same operands.
template <class Attention>
auto report_times_plain(const Attention& attention) {
    return [attention](benchmark::State& state, auto& x, double) {
        state.counters["times_plain"] = times_as_long([&] { x.run(attention); }, [&] { x.run(scaled_dot_product); });
    };
}

}  // namespace attend::bench

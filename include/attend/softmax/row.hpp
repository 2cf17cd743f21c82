#pragma once
/// \file
/// Softmax, log-softmax and log-sum-exp of one row of scores, and their gradients: what normalizers are made of.
///
/// In a row of scores −∞ marks what is absent: it gets weight 0 and gradient 0, and the gradient that comes in at its
/// place is not looked at. Several +∞ share all weight equally. NaN spreads to the whole row.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <span>
#include <type_traits>

#include <attend/softmax/exp.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Calls `f(packet, …)` for the packets of rows of one size, in order; what f makes of them goes into the rows that are
/// not const. The last packets are filled up with lanes of `fill`.
///
/// How a row is cut depends on its size alone, never on its alignment, so sums have the same bits wherever it stands.
template <class T, class F, class First, class... Others>
void for_each_packet(T fill, F f, std::span<First> first, std::span<Others>... others) {
    const auto store = [](auto row, Index i, const simd::Packet<T>& x, Index count) {
        if constexpr (!std::is_const_v<typename decltype(row)::element_type>) simd::store<T>(row.data() + i, x, count);
    };
    const Index size = std::ssize(first);
    for (Index i = 0; i < size; i += simd::width<T>) {
        const Index count = std::min(simd::width<T>, size - i);
        [&](auto x, auto... y) {
            f(x, y...);
            store(first, i, x, count);
            (store(others, i, y, count), ...);
        }(simd::load<T>(first.data() + i, count, fill), simd::load<T>(others.data() + i, count, fill)...);
    }
}

/// The score that stands for none.
template <class T>
inline constexpr T absent = -std::numeric_limits<T>::infinity();

/// What makes weights of the scores s of a row: p = e^{s − shift} / total.
template <class T>
struct RowSum {
    T shift;  ///< the largest score, so that nothing overflows; 0 where there is none, as −∞ − −∞ would be NaN
    T total = 0;  ///< Σ e^{s − shift}: 0 where there is no score, otherwise at least 1

    /// `largest` may be any score in a row with a NaN, whose total will be NaN.
    explicit RowSum(T largest) : shift(largest == absent<T> ? T(0) : largest) {}

    /// Adds the terms e^{s − shift} of a row and, unless it is const, puts them in the place of the scores.
    template <class Score>
    void add_terms(std::span<Score> row) {
        const auto m = simd::broadcast(shift);
        auto sum = simd::broadcast(T(0));
        const auto replace_and_add = [&](auto& s) {
            s = exp_difference<T>(s, m);
            sum = simd::add(sum, s);
        };
        for_each_packet(absent<T>, replace_and_add, row);
        total += simd::sum<T>(sum);
    }
    void add_term(T score) { total += exp_difference(score, shift); }

    T lse() const { return shift + std::log(total); }
};

/// The largest score. In a row with a NaN it may be any other.
template <class T>
T largest_score(std::span<const T> scores) {
    auto largest = simd::broadcast(absent<T>);
    const auto take = [&](const auto& s) { largest = simd::max(largest, s); };
    for_each_packet(absent<T>, take, scores);
    return simd::largest<T>(largest);
}

template <class T>
RowSum<T> row_sum(std::span<const T> scores) {
    RowSum<T> sum(largest_score(scores));
    sum.add_terms(scores);
    return sum;
}

/// Scores -> weights in place. A `sink` is one more logit, which takes weight and stands nowhere. Returns the LSE,
/// which includes the sink unless the row itself has no score.
template <class T>
T softmax_row(std::span<T> row, T sink = absent<T>) {
    const T largest = largest_score(std::span<const T>(row));
    RowSum<T> sum(std::max(largest, sink));
    sum.add_terms(row);
    const bool empty = largest == absent<T> && sum.total == T(0);
    if (sink != absent<T>) sum.add_term(sink);

    const auto factor = simd::broadcast(sum.total == T(0) ? T(0) : T(1) / sum.total);
    const auto divide = [&](auto& term) { term = simd::mul(term, factor); };
    for_each_packet(T(0), divide, row);
    return empty ? absent<T> : sum.lse();
}

/// dp -> ds in place, given the weights: ds = p (dp − δ). Returns δ = Σ p dp.
template <class T>
T softmax_row_backward(std::span<const T> p, std::span<T> dp) {
    const auto zero = simd::broadcast(T(0));
    auto products = zero;
    const auto add_product = [&](const auto& w, const auto& d) {
        products = simd::madd(w, simd::select_equal(w, zero, zero, d), products);
    };
    for_each_packet(T(0), add_product, p, std::span<const T>(dp));
    const T delta = simd::sum<T>(products);
    const auto make_ds = [&, shift = simd::broadcast(delta)](const auto& w, auto& d) {
        d = simd::select_equal(w, zero, zero, simd::mul(w, simd::sub(d, shift)));
    };
    for_each_packet(T(0), make_ds, p, dp);
    return delta;
}

template <class T>
T row_logsumexp(std::span<const T> scores) {
    return row_sum(scores).lse();
}

/// Scores -> gradients in place, given the row's LSE and its gradient: ds = e^{s − lse} · dlse.
template <class T>
void row_logsumexp_backward(std::span<T> row, T lse, T dlse) {
    RowSum<T> sum(lse);
    if (lse == -absent<T>) sum.add_terms(std::span<const T>(row));  // counts the +∞ among which the weight is shared
    const auto shift = simd::broadcast(sum.shift), scale = simd::broadcast(sum.total > T(0) ? dlse / sum.total : dlse);
    const auto none = simd::broadcast(absent<T>), zero = simd::broadcast(T(0));
    const auto make_ds = [&](auto& s) {
        s = simd::select_equal(s, none, zero, simd::mul(exp_difference<T>(s, shift), scale));
    };
    for_each_packet(absent<T>, make_ds, row);
}

/// Scores -> log-weights in place: s − lse.
template <class T>
void log_softmax_row(std::span<T> row) {
    const RowSum<T> sum = row_sum(std::span<const T>(row));
    const auto shift = simd::broadcast(sum.shift), zero = simd::broadcast(T(0));
    const auto log_total = simd::broadcast(sum.total == T(0) ? T(0) : std::log(sum.total));
    // In two steps, as an lse of large scores has lost the bits of log(total). Equal infinities differ by 0 here.
    const auto subtract = [&](auto& s) {
        s = simd::sub(simd::select_equal(s, shift, zero, simd::sub(s, shift)), log_total);
    };
    for_each_packet(absent<T>, subtract, row);
}

/// dlog_p -> ds in place, given the log-weights: ds = dlog_p − p Σ dlog_p.
template <class T>
void log_softmax_row_backward(std::span<const T> log_p, std::span<T> dlog_p) {
    const auto none = simd::broadcast(absent<T>), zero = simd::broadcast(T(0));
    auto sum = zero;
    const auto add = [&](const auto& log_w, const auto& d) {
        sum = simd::add(sum, simd::select_equal(log_w, none, zero, d));
    };
    for_each_packet(absent<T>, add, log_p, std::span<const T>(dlog_p));
    const auto make_ds = [&, minus_sum = simd::broadcast(-simd::sum<T>(sum))](const auto& log_w, auto& d) {
        d = simd::select_equal(log_w, none, zero, simd::madd(exp_packet<T>(log_w), minus_sum, d));
    };
    for_each_packet(absent<T>, make_ds, log_p, dlog_p);
}

}  // namespace attend::detail

namespace attend::inline ATTEND_ABI {

/// Scores -> e^{s − shift} in place; returns their sum. For normalizers of a user's own that take exponentials, at the
/// speed of softmax's: by packets, exact to 2 ulp of T where s − shift is exact. −∞ gives 0, and a score that equals
/// the shift 1, be both infinite; a shift of −∞, the largest of no score, counts as 0. O(n).
template <std::floating_point T>
T exponentials(std::span<T> row, T shift) {
    detail::RowSum<T> sum(shift);
    sum.add_terms(row);
    return sum.total;
}

}  // namespace attend

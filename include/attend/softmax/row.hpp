#pragma once
/// \file
/// Softmax, log-softmax and log-sum-exp of one row of scores, and their gradients: what normalizers are made of.
///
/// In a row of scores −∞ marks what is absent: it gets weight 0 and gradient 0, and the gradient that comes in at its
/// place is not looked at. Several +∞ share all weight equally. NaN spreads to the whole row.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>

#include <attend/softmax/exp.hpp>

namespace attend::detail {

/// Scalars at equal distances in memory.
template <class T>
struct StridedRow {
    T* data;
    Index size;
    Index stride;

    StridedRow(T* first, Index count, Index step) : data(first), size(count), stride(step) {}
    StridedRow(std::span<T> row) : StridedRow(row.data(), std::ssize(row), 1) {}

    StridedRow<const T> read_only() const { return {data, size, stride}; }
};

/// A part of a row as contiguous scalars of the computing type: the row's own memory where it is that, otherwise a copy,
/// which is written back at the end unless the row is const.
template <class T>
class Chunk {
public:
    using Scalar = Compute<std::remove_const_t<T>>;
    static constexpr Index capacity = 512;

    Chunk(const StridedRow<T>& row, Index begin)
        : row_{row.data + begin * row.stride, std::min(capacity, row.size - begin), row.stride} {
        if constexpr (std::is_same_v<std::remove_const_t<T>, Scalar>) {
            if (row.stride == 1) {
                values_ = row_.data;
                return;
            }
        }
        for (Index i = 0; i < size(); ++i) copy_[i] = static_cast<Scalar>(row_.data[i * row_.stride]);
        values_ = copy_;
    }
    Chunk(const Chunk&) = delete;
    Chunk& operator=(const Chunk&) = delete;
    ~Chunk() {
        if constexpr (!std::is_const_v<T>) {
            if (values_ != copy_) return;
            for (Index i = 0; i < size(); ++i) row_.data[i * row_.stride] = static_cast<T>(copy_[i]);
        }
    }

    Index size() const { return row_.size; }
    simd::Packet<Scalar> load(Index i, Index count, Scalar fill) const {
        return simd::load<Scalar>(values_ + i, count, fill);
    }
    void store_unless_const(Index i, const simd::Packet<Scalar>& x, Index count) const {
        if constexpr (!std::is_const_v<T>) simd::store<Scalar>(values_ + i, x, count);
    }

private:
    StridedRow<T> row_;
    std::conditional_t<std::is_const_v<T>, const Scalar, Scalar>* values_;
    Scalar copy_[capacity];
};

template <class C, class F, class First, class... Others>
void for_each_packet_of_chunks(C fill, F& f, const Chunk<First>& first, const Chunk<Others>&... others) {
    for (Index i = 0; i < first.size(); i += simd::width<C>) {
        const Index count = std::min(simd::width<C>, first.size() - i);
        [&](auto x, auto... y) {
            f(x, y...);
            first.store_unless_const(i, x, count);
            (others.store_unless_const(i, y, count), ...);
        }(first.load(i, count, fill), others.load(i, count, fill)...);
    }
}

/// Calls `f(packet, …)` for the packets of rows of one size, in order; what f makes of them goes into the rows that are
/// not const. The last packets are filled up with lanes of `fill`.
///
/// How a row is cut into packets depends on its size alone, so sums have the same bits at every alignment and stride.
template <class C, class F, class First, class... Others>
void for_each_packet(C fill, F f, const StridedRow<First>& first, const StridedRow<Others>&... others) {
    for (Index begin = 0; begin < first.size; begin += Chunk<First>::capacity) {
        for_each_packet_of_chunks(fill, f, Chunk<First>(first, begin), Chunk<Others>(others, begin)...);
    }
}

/// What makes weights of the scores s of a row: p = e^{s − shift} / total.
template <class T>
struct RowSum {
    static constexpr T lowest = -std::numeric_limits<T>::infinity();

    T shift;      ///< the largest score, so that nothing overflows; 0 where there is none, as −∞ − −∞ would be NaN
    T total = 0;  ///< Σ e^{s − shift}: 0 where there is no score, otherwise at least 1

    /// `largest` may miss the largest score of a row that has a NaN: its total will be NaN.
    explicit RowSum(T largest) : shift(largest == lowest ? T(0) : largest) {}

    /// e^{s − shift}; 1 where both are +∞, whose difference would be NaN.
    simd::Packet<T> term(const simd::Packet<T>& s) const {
        const auto m = simd::broadcast(shift);
        return simd::select_equal(s, m, simd::broadcast(T(1)), exp_packet<T>(simd::sub(s, m)));
    }
    /// Adds the terms of a row and puts them in the place of its scores, unless it is const.
    template <class Score>
    void add_terms(const StridedRow<Score>& row) {
        auto sum = simd::broadcast(T(0));
        const auto replace_and_add = [&](auto& s) {
            s = term(s);
            sum = simd::add(sum, s);
        };
        for_each_packet(lowest, replace_and_add, row);
        total += simd::sum<T>(sum);
    }
    T lse() const { return shift + std::log(total); }
};

/// The largest score, −∞ if there is none. Of a row with a NaN this may be any other value.
template <class T>
Compute<T> largest_score(const StridedRow<const T>& row) {
    using C = Compute<T>;
    constexpr C lowest = RowSum<C>::lowest;
    auto largest = simd::broadcast(lowest);
    for_each_packet(lowest, [&](const auto& s) { largest = simd::max(largest, s); }, row);
    return simd::largest<C>(largest);
}

template <class T>
RowSum<Compute<T>> row_sum(const StridedRow<const T>& scores) {
    RowSum<Compute<T>> sum(largest_score(scores));
    sum.add_terms(scores);
    return sum;
}

/// Scores -> weights in place. A `sink` is one more logit, which takes weight and stands nowhere. Returns the LSE, which
/// includes the sink unless the row itself has no score.
template <class T>
Compute<T> softmax_row(const StridedRow<T>& row, Compute<T> sink = RowSum<Compute<T>>::lowest) {
    using C = Compute<T>;
    constexpr C lowest = RowSum<C>::lowest;
    constexpr bool holds_terms = std::is_same_v<T, C>;  // 16 bits would round a term once more before it is divided

    const C largest = largest_score(row.read_only());
    RowSum<C> sum(std::max(largest, sink));
    if constexpr (holds_terms) {
        sum.add_terms(row);
    } else {
        sum.add_terms(row.read_only());
    }
    const bool empty = largest == lowest && sum.total == C(0);
    sum.add_terms(StridedRow<const C>{&sink, 1, 1});

    const auto factor = simd::broadcast(sum.total == C(0) ? C(0) : C(1) / sum.total);
    const auto divide = [&](auto& s) {
        if constexpr (!holds_terms) s = sum.term(s);
        s = simd::mul(s, factor);
    };
    for_each_packet(lowest, divide, row);
    return empty ? lowest : sum.lse();
}
template <class T>
T softmax_row(std::span<T> row, T sink = RowSum<T>::lowest) {
    return softmax_row(StridedRow<T>(row), sink);
}

/// dp -> ds in place, given the weights: ds = p (dp − δ). Returns δ = Σ p dp.
template <class P, class T>
Compute<T> softmax_row_backward(const StridedRow<P>& p, const StridedRow<T>& dp) {
    using C = Compute<T>;
    const auto zero = simd::broadcast(C(0));
    auto products = zero;
    const auto add_product = [&](const auto& w, const auto& d) {
        products = simd::madd(w, simd::select_equal(w, zero, zero, d), products);
    };
    for_each_packet(C(0), add_product, p, dp.read_only());
    const C delta = simd::sum<C>(products);
    const auto make_ds = [&, shift = simd::broadcast(delta)](const auto& w, auto& d) {
        d = simd::select_equal(w, zero, zero, simd::mul(w, simd::sub(d, shift)));
    };
    for_each_packet(C(0), make_ds, p, dp);
    return delta;
}
template <class T>
T softmax_row_backward(std::span<const T> p, std::span<T> dp) {
    return softmax_row_backward(StridedRow<const T>(p), StridedRow<T>(dp));
}

template <class T>
Compute<T> row_logsumexp(const StridedRow<const T>& scores) {
    return row_sum(scores).lse();
}
template <class T>
T row_logsumexp(std::span<const T> scores) {
    return row_logsumexp(StridedRow<const T>(scores));
}

/// Scores -> gradients in place, given the row's LSE and its gradient: ds = e^{s − lse} · dlse.
template <class T>
void row_logsumexp_backward(const StridedRow<T>& row, Compute<T> lse, Compute<T> dlse) {
    using C = Compute<T>;
    const auto lowest = simd::broadcast(RowSum<C>::lowest), zero = simd::broadcast(C(0));
    RowSum<C> sum(lse);
    if (lse == -RowSum<C>::lowest) sum.add_terms(row.read_only());  // counts what shares the weight
    const auto scale = simd::broadcast(sum.total > C(0) ? dlse / sum.total : dlse);
    const auto make_ds = [&](auto& s) { s = simd::select_equal(s, lowest, zero, simd::mul(sum.term(s), scale)); };
    for_each_packet(RowSum<C>::lowest, make_ds, row);
}

/// Scores -> log-weights in place: s − lse.
template <class T>
void log_softmax_row(const StridedRow<T>& row) {
    using C = Compute<T>;
    const RowSum<C> sum = row_sum(row.read_only());
    const auto shift = simd::broadcast(sum.shift), zero = simd::broadcast(C(0));
    const auto log_total = simd::broadcast(sum.total == C(0) ? C(0) : std::log(sum.total));
    // In two steps, as lse may be too large to hold the bits of log(total); +∞ − +∞ is 0 here.
    const auto subtract = [&](auto& s) { s = simd::sub(simd::select_equal(s, shift, zero, simd::sub(s, shift)), log_total); };
    for_each_packet(RowSum<C>::lowest, subtract, row);
}

/// dlog_p -> ds in place, given the log-weights: ds = dlog_p − p Σ dlog_p.
template <class P, class T>
void log_softmax_row_backward(const StridedRow<P>& log_p, const StridedRow<T>& dlog_p) {
    using C = Compute<T>;
    const auto lowest = simd::broadcast(RowSum<C>::lowest), zero = simd::broadcast(C(0));
    auto sum = zero;
    const auto add = [&](const auto& log_w, const auto& d) {
        sum = simd::add(sum, simd::select_equal(log_w, lowest, zero, d));
    };
    for_each_packet(RowSum<C>::lowest, add, log_p, dlog_p.read_only());
    const auto make_ds = [&, minus_sum = simd::broadcast(-simd::sum<C>(sum))](const auto& log_w, auto& d) {
        d = simd::select_equal(log_w, lowest, zero, simd::madd(exp_packet<C>(log_w), minus_sum, d));
    };
    for_each_packet(RowSum<C>::lowest, make_ds, log_p, dlog_p);
}

}  // namespace attend::detail

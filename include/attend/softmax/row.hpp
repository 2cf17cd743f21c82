#pragma once
/// \file
/// Softmax, log-softmax and log-sum-exp of one row of scores, and their gradients: what normalizers are made of.
///
/// In a row of scores −∞ marks what is absent: it gets weight 0 and gradient 0, and the gradient that comes in at its
/// place is not looked at. Several +∞ share all weight equally. NaN spreads to the whole row.

#include <cmath>
#include <concepts>
#include <limits>
#include <span>

#include <attend/core/repeat.hpp>
#include <attend/softmax/row_sum.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Scores -> weights, into `to`, of a row that fills so many packets, in registers from reading to writing. False, and
/// nothing is written, of scores that are not finite and of terms that are no normal numbers.
template <int packets, class T>
ATTEND_ALWAYS_INLINE inline bool weigh_short_row(std::span<const T> row, T* to, RowSum<T>& sum) {
    constexpr Index w = simd::width<T>, begin = (packets - 1) * w;
    const LastPacket<T> last{std::ssize(row) - begin};
    simd::Packet<T> x[packets];
    repeat<packets - 1>([&](auto r) ATTEND_ALWAYS_INLINE { x[r] = simd::load(row.data() + r * w); });
    x[packets - 1] = last.count == w ? simd::load(row.data() + begin) : last.load(row.data() + begin, absent<T>);
    auto most = x[0];
    repeat<packets - 1>([&](auto r) ATTEND_ALWAYS_INLINE { most = simd::max(most, x[r + 1]); });
    sum.shift = simd::largest<T>(most);
    if (!std::isfinite(sum.shift)) return false;
    const auto shift = simd::broadcast(sum.shift);
    repeat<packets>([&](auto r) ATTEND_ALWAYS_INLINE { x[r] = simd::sub(x[r], shift); });
    if constexpr (exp_is_even<T>) {
        exp_below<T>(x);
    } else if (any_denormal<T>(x)) [[unlikely]] {
        return false;
    } else {
        exp_of_nonpositive<T>(x);
    }
    auto all = x[0];
    repeat<packets - 1>([&](auto r) ATTEND_ALWAYS_INLINE { all = simd::add(all, x[r + 1]); });
    sum.total = simd::sum<T>(all);
    const auto factor = simd::broadcast(T(1) / sum.total);
    repeat<packets>([&](auto r) ATTEND_ALWAYS_INLINE { x[r] = simd::mul(x[r], factor); });
    repeat<packets - 1>([&](auto r) ATTEND_ALWAYS_INLINE { simd::store(to + r * w, x[r]); });
    last.count == w ? simd::store(to + begin, x[packets - 1]) : last.store(to + begin, x[packets - 1]);
    return true;
}

/// Whether the row is short, and has been weighed.
template <class T>
ATTEND_NOINLINE bool weigh_if_short(std::span<const T> row, T* to, RowSum<T>& sum) {
    constexpr Index w = simd::width<T>;
    bool weighed = false;
    if constexpr (w > 1) {
        const Index packets = (std::ssize(row) + w - 1) / w;
        repeat<8>([&](auto less) {
            if (packets == less + 1) weighed = weigh_short_row<less + 1>(row, to, sum);
        });
    }
    return weighed;
}

/// The same of a row of any length, whose extremes are known. A `sink` takes weight and stands nowhere. Calls
/// `meanwhile()` when all terms are there, but not yet scaled.
template <class T, class F>
RowSum<T> weigh_row(std::span<const T> row, const Extremes<T>& of, T* to, T sink, F&& meanwhile) {
    RowSum<T> sum = row_sum(row, of, to, sink);
    const bool empty = of.largest == absent<T> && sum.total == T(0);
    if (sink != absent<T>) sum.add_term(sink);
    const auto factor = simd::broadcast(sum.total == T(0) ? T(0) : T(1) / sum.total);
    meanwhile();
    for_each_packet<T>(std::ssize(row), [&](auto, Index i, auto packet) ATTEND_ALWAYS_INLINE {
        packet.store(to + i, simd::mul(packet.load(to + i, T(0)), factor));
    });
    return empty ? RowSum<T>(absent<T>) : sum;
}
/// The same of any row, which may be `to` itself. Returns what the LSE is made of: with the sink, unless the row itself
/// has no score.
template <class T>
RowSum<T> weigh_row(std::span<const T> row, T* to, T sink = absent<T>) {
    if (RowSum<T> sum(T(0)); sink == absent<T> && weigh_if_short(row, to, sum)) return sum;
    return weigh_row(row, Extremes<T>(row), to, sink, [] {});
}
/// Weighs rows that follow each other. The extremes of the next are found while the sum of this one is on its way, and
/// theirs while this one is scaled: neither is waited for.
template <class T>
class RowWeigher {
public:
    /// `next`: the row that comes after this, if it is there already.
    void operator()(std::span<const T> row, T* to, std::span<const T> next) {
        if (row.size_bytes() < least_bytes || row.size_bytes() > most_bytes) {
            weigh_row(row, to);
            return;
        }
        const Extremes<T> of = known_ ? next_ : Extremes<T>(row);
        known_ = !next.empty();
        weigh_row(row, of, to, absent<T>, [&] {
            if (known_) next_ = Extremes<T>(next);
        });
    }

private:
    /// Shorter rows stay in registers, longer ones are in the way of each other in the first level of the cache.
    static constexpr std::size_t least_bytes = 8 * sizeof(simd::Packet<T>) + 1, most_bytes = 1 << 14;

    bool known_ = false;
    Extremes<T> next_;
};
/// The same in place; returns the LSE.
template <class T>
T softmax_row(std::span<T> row, T sink = absent<T>) {
    return weigh_row(std::span<const T>(row), row.data(), sink).lse();
}

/// ds = p (dp − δ), given the weights, into `ds`, which may be dp itself. Returns δ = Σ p dp.
template <class T>
T softmax_row_backward(std::span<const T> p, std::span<const T> dp, T* ds) {
    const auto zero = simd::broadcast(T(0));
    FourPackets<T> products(T(0));
    for_each_packet<T>(std::ssize(p), [&](auto r, Index i, auto packet) ATTEND_ALWAYS_INLINE {
        const auto w = packet.load(p.data() + i, T(0)), d = packet.load(dp.data() + i, T(0));
        products[r] = simd::madd(w, simd::select_equal(w, zero, zero, d), products[r]);
    });
    const T delta = products.sum();
    const auto shift = simd::broadcast(delta);
    for_each_packet<T>(std::ssize(p), [&](auto, Index i, auto packet) ATTEND_ALWAYS_INLINE {
        const auto w = packet.load(p.data() + i, T(0)), d = packet.load(dp.data() + i, T(0));
        packet.store(ds + i, simd::select_equal(w, zero, zero, simd::mul(w, simd::sub(d, shift))));
    });
    return delta;
}
template <class T>
T softmax_row_backward(std::span<const T> p, std::span<T> dp) {
    return softmax_row_backward(p, std::span<const T>(dp), dp.data());
}

template <class T>
T row_logsumexp(std::span<const T> scores) {
    return row_sum(scores, Extremes<T>(scores)).lse();
}

/// The gradients of scores, given their LSE and its gradient: ds = e^{s − lse} · dlse, into `ds`, which may be the row
/// itself.
template <class T>
void row_logsumexp_backward(std::span<const T> row, T* ds, T lse, T dlse) {
    RowSum<T> sum(lse);
    if (lse == -absent<T>) sum.add_terms(row);  // counts the +∞ among which the weight is shared
    const auto shift = simd::broadcast(sum.shift), scale = simd::broadcast(sum.total > T(0) ? dlse / sum.total : dlse);
    const auto none = simd::broadcast(absent<T>), zero = simd::broadcast(T(0));
    for_each_packet<T>(std::ssize(row), [&](auto, Index i, auto packet) ATTEND_ALWAYS_INLINE {
        const auto s = packet.load(row.data() + i, absent<T>);
        packet.store(ds + i, simd::select_equal(s, none, zero, simd::mul(exp_difference<T>(s, shift), scale)));
    });
}

/// Scores -> log-weights, s − lse, into `to`, which may be the row itself.
template <class T>
void log_softmax_row(std::span<const T> row, T* to) {
    const RowSum<T> sum = row_sum(row, Extremes<T>(row));
    const auto shift = simd::broadcast(sum.shift), zero = simd::broadcast(T(0));
    const auto log_total = simd::broadcast(sum.total == T(0) ? T(0) : std::log(sum.total));
    for_each_packet<T>(std::ssize(row), [&](auto, Index i, auto packet) ATTEND_ALWAYS_INLINE {
        // In two steps, as an lse of large scores has lost the bits of log(total). Equal infinities differ by 0 here.
        const auto s = packet.load(row.data() + i, absent<T>);
        packet.store(to + i, simd::sub(simd::select_equal(s, shift, zero, simd::sub(s, shift)), log_total));
    });
}

/// ds = dlog_p − p Σ dlog_p, given the log-weights, into `ds`, which may be dlog_p itself.
template <class T>
void log_softmax_row_backward(std::span<const T> log_p, std::span<const T> dlog_p, T* ds) {
    const auto none = simd::broadcast(absent<T>), zero = simd::broadcast(T(0));
    FourPackets<T> sum(T(0));
    for_each_packet<T>(std::ssize(log_p), [&](auto r, Index i, auto packet) ATTEND_ALWAYS_INLINE {
        const auto log_w = packet.load(log_p.data() + i, absent<T>), d = packet.load(dlog_p.data() + i, T(0));
        sum[r] = simd::add(sum[r], simd::select_equal(log_w, none, zero, d));
    });
    const auto minus_sum = simd::broadcast(-sum.sum());
    for_each_packet<T>(std::ssize(log_p), [&](auto, Index i, auto packet) ATTEND_ALWAYS_INLINE {
        const auto log_w = packet.load(log_p.data() + i, absent<T>), d = packet.load(dlog_p.data() + i, T(0));
        packet.store(ds + i, simd::select_equal(log_w, none, zero, simd::madd(exp_packet<T>(log_w), minus_sum, d)));
    });
}

}  // namespace attend::detail

namespace attend::inline ATTEND_ABI {

/// Scores -> e^{s − shift} in place; returns their sum. For normalizers of a user's own that take exponentials, at the
/// speed of softmax's: by packets, exact to 2 ulp of T where s − shift is exact. −∞ gives 0, and a score that equals
/// the shift 1, be both infinite; a shift of −∞, the largest of no score, counts as 0. O(n).
template <std::floating_point T>
T exponentials(std::span<T> row, T shift) {
    detail::RowSum<T> sum(shift);
    sum.add_terms(std::span<const T>(row), row.data());
    return sum.total;
}

}  // namespace attend

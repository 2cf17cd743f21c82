#pragma once
/// \file
/// The exponentials of one row of scores and their sum, a packet at a time.
///
/// In a row of scores −∞ marks what is absent: it gets weight 0.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A whole packet of a row.
template <class T>
struct WholePacket {
    static simd::Packet<T> load(const T* from, T) { return simd::load(from); }
    static void store(T* to, const simd::Packet<T>& x) { simd::store(to, x); }
};
/// What is left of a row: the lanes behind are filled up, and not written.
template <class T>
struct LastPacket {
    Index count;
    simd::Packet<T> load(const T* from, T fill) const { return simd::load(from, count, fill); }
    void store(T* to, const simd::Packet<T>& x) const { simd::store<T>(to, x, count); }
};

/// Calls `f(count, i, packet)` for the packets of a row of `size` scalars, in order, four of them as long as there are
/// so many, and then one at a time: `packet` loads and stores each of the `count` that follow each other from i.
///
/// How a row is cut depends on its size alone, never on its alignment, so sums have the same bits wherever it stands.
template <class T, class F>
ATTEND_ALWAYS_INLINE inline void for_some_packets(Index size, F&& f) {
    constexpr Index w = simd::width<T>;
    constexpr std::integral_constant<int, 1> one;
    Index i = 0;
    for (; i + 4 * w <= size; i += 4 * w) f(std::integral_constant<int, 4>(), i, WholePacket<T>());
    for (; i + w <= size; i += w) f(one, i, WholePacket<T>());
    if (i < size) f(one, i, LastPacket<T>{size - i});
}
/// Calls `f(r, i, packet)` for each of them: r, from 0 to 3, tells neighbours apart, so that each has a sum of its own
/// to add to and none waits for another.
template <class T, class F>
ATTEND_ALWAYS_INLINE inline void for_each_packet(Index size, F&& f) {
    for_some_packets<T>(size, [&](auto count, Index i, auto packet) ATTEND_ALWAYS_INLINE {
        repeat<count>([&](auto r) ATTEND_ALWAYS_INLINE { f(r, i + r * simd::width<T>, packet); });
    });
}
/// Sums or maxima of neighbours.
template <class T>
struct FourPackets {
    simd::Packet<T> of[4];

    explicit FourPackets(T start) {
        for (auto& x : of) x = simd::broadcast(start);
    }
    simd::Packet<T>& operator[](int r) { return of[r]; }
    T sum() const { return simd::sum<T>(simd::add(simd::add(of[0], of[1]), simd::add(of[2], of[3]))); }
    T least() const {
        const auto none = simd::broadcast(T(0));
        return -simd::largest<T>(simd::sub(none, simd::min(simd::min(of[0], of[1]), simd::min(of[2], of[3]))));
    }
    T largest() const { return simd::largest<T>(simd::max(simd::max(of[0], of[1]), simd::max(of[2], of[3]))); }
};

/// The score that stands for none.
template <class T>
inline constexpr T absent = -std::numeric_limits<T>::infinity();

/// Where the scores of a row stand: anywhere; none beyond a finite shift; or besides none so far below it that its term
/// is no normal number. The less is possible, the faster.
enum class Range { any, below, normal };

/// What makes weights of the scores s of a row: p = e^{s − shift} / total.
template <class T>
struct RowSum {
    T shift;  ///< the largest score, so that nothing overflows; 0 where there is none, as −∞ − −∞ would be NaN
    T total = 0;  ///< Σ e^{s − shift}: 0 where there is no score, otherwise at least 1

    /// `largest` may be any score in a row with a NaN, whose total will be NaN.
    explicit RowSum(T largest) : shift(largest == absent<T> ? T(0) : largest) {}

    /// Adds the terms e^{s − shift} of a row and, if there is a `to`, which may be the row itself, writes them there.
    template <Range range = Range::any>
    void add_terms(std::span<const T> row, T* to = nullptr) {
        const auto m = simd::broadcast(shift);
        FourPackets<T> sum(T(0));
        for_some_packets<T>(std::ssize(row), [&](auto count, Index i, auto packet) ATTEND_ALWAYS_INLINE {
            constexpr Index w = simd::width<T>;
            simd::Packet<T> e[count];
            repeat<count>([&](auto r) ATTEND_ALWAYS_INLINE { e[r] = packet.load(row.data() + i + r * w, absent<T>); });
            make_terms<range>(e, m, packet);
            repeat<count>([&](auto r) ATTEND_ALWAYS_INLINE { sum[r] = simd::add(sum[r], e[r]); });
            if (to != nullptr) repeat<count>([&](auto r) ATTEND_ALWAYS_INLINE { packet.store(to + i + r * w, e[r]); });
        });
        total += sum.sum();
    }
    void add_term(T score) { total += exp_difference(score, shift); }

    T lse() const { return shift + std::log(total); }

private:
    /// Scores -> terms.
    template <Range range, int count, class SomePacket>
    ATTEND_ALWAYS_INLINE static void make_terms(simd::Packet<T> (&s)[count], const simd::Packet<T>& m, SomePacket) {
        constexpr bool filled_up = std::is_same_v<SomePacket, LastPacket<T>>;  // with what is absent
        if constexpr (range == Range::any) {
            repeat<count>([&](auto r) ATTEND_ALWAYS_INLINE { s[r] = exp_difference<T>(s[r], m); });
            return;
        }
        repeat<count>([&](auto r) ATTEND_ALWAYS_INLINE { s[r] = simd::sub(s[r], m); });
        if constexpr (range == Range::below) exp_below<T>(s);
        if constexpr (range == Range::normal && filled_up) exp_of_nonpositive<T>(s);
        if constexpr (range == Range::normal && !filled_up) exp_to_normal<T>(s);
    }
};

/// The largest and the least score. In a row with a NaN they may be any other.
template <class T>
struct Extremes {
    T largest = absent<T>, least = -absent<T>;  ///< of no scores

    Extremes() = default;
    explicit Extremes(std::span<const T> scores) {
        FourPackets<T> most(absent<T>), fewest(-absent<T>);
        for_each_packet<T>(std::ssize(scores), [&](auto r, Index i, auto packet) ATTEND_ALWAYS_INLINE {
            most[r] = simd::max(most[r], packet.load(scores.data() + i, absent<T>));
            fewest[r] = simd::min(fewest[r], packet.load(scores.data() + i, -absent<T>));
        });
        largest = most.largest();
        least = fewest.least();
    }
};

/// The sum of a row's terms, which are written `to` where there is one, and that of a `sink`, one more score that
/// stands nowhere, is not added yet.
template <class T>
RowSum<T> row_sum(std::span<const T> scores, const Extremes<T>& of, T* to = nullptr, T sink = absent<T>) {
    RowSum<T> sum(std::max(of.largest, sink));
    if (!std::isfinite(sum.shift)) {
        sum.add_terms(scores, to);
    } else if (!(of.least - sum.shift >= ExpConstants<T>::least_normal)) {
        sum.template add_terms<Range::below>(scores, to);
    } else {
        sum.template add_terms<Range::normal>(scores, to);
    }
    return sum;
}

}  // namespace attend::detail

#pragma once
/// \file
/// The length of rows of features, and rows divided by their root mean square.

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

// Sums have an order of their own: Eigen's would depend on where a row stands in memory, and so its bits on the batch.

/// A row of features in anybody's memory, read and written a packet at a time in the scalar C.
template <class C, class T>
struct FeatureRow {
    T* data;
    Index stride = 1;

    simd::Packet<C> load(Index a, Index count) const {
        if constexpr (std::is_same_v<std::remove_const_t<T>, C>) {
            if (stride == 1) return simd::load(data + a, count, C(0));
        }
        return Lanes<C>::gather(data + a * stride, stride, count).packet;
    }
    void store(Index a, Index count, const simd::Packet<C>& x) const {
        if constexpr (std::is_same_v<T, C>) {
            if (stride == 1) return simd::store(data + a, x, count);
        }
        C lanes[simd::width<C>];
        simd::store(lanes, x);
        for (Index i = 0; i < count; ++i) data[(a + i) * stride] = static_cast<T>(lanes[i]);
    }
};
/// Row i of a dense object.
template <class C, class X>
auto feature_row(X& x, Index i) {
    using T = std::remove_pointer_t<decltype(x.data())>;
    constexpr bool row_major = std::remove_const_t<X>::IsRowMajor;
    return FeatureRow<C, T>{x.data() + i * (row_major ? x.outerStride() : x.innerStride()),
                            row_major ? x.innerStride() : x.outerStride()};
}

/// Calls `f(a, count)` for the packets of a row.
template <class C, class F>
ATTEND_ALWAYS_INLINE inline void by_packets(Index size, F&& f) {
    constexpr Index w = simd::width<C>;
    for (Index a = 0; a < size; a += w) f(a, std::min(w, size - a));
}

/// Σ x², where `at(a, count)` is a packet of x.
template <class C, class At>
C sum_of_squares(Index size, At&& at) {
    auto sum = simd::broadcast(C(0));
    by_packets<C>(size, [&](Index a, Index count) {
        const auto x = at(a, count);
        sum = simd::madd(x, x, sum);
    });
    return simd::sum<C>(sum);
}
/// Whether squares have neither left the range of C nor lost digits at its lower end.
template <class C>
bool squares_hold(C sum) {
    constexpr C least = std::numeric_limits<C>::min() / std::numeric_limits<C>::epsilon();
    return sum > least && sum < std::numeric_limits<C>::max();
}
/// |x|: where the squares leave the range of C, as those of 1e30 and 1e-30 do, from x scaled into it.
template <class C, class At>
C row_length(Index size, At&& at) {
    using std::abs, std::sqrt;
    const C sum = sum_of_squares<C>(size, at);
    if (squares_hold(sum)) return sqrt(sum);
    C most(0);
    for (Index a = 0; a < size; ++a) {
        const C x_a = abs(simd::first<C>(at(a, 1)));
        most = x_a > most || x_a != x_a ? x_a : most;
    }
    if (most == C(0)) return C(0);
    const auto scale = simd::broadcast(most);
    return most * sqrt(sum_of_squares<C>(size, [&](Index a, Index n) { return simd::div(at(a, n), scale); }));
}

}  // namespace detail

/// Root mean square normalisation: y = g · x / √(mean(x²) + ε), with a learned gain g for each feature (Zhang and
/// Sennrich 2019). Of queries and keys, head by head, it keeps scores within bounds, as in Qwen3 and Gemma 3 (whose
/// checkpoints hold g − 1). A row of zeros stays 0, with ε = 0 too.
struct RmsNorm {
    double epsilon = 1e-6;  ///< ε, added to the mean of squares

    auto spelled(const auto& say) const {
        return say.record("RmsNorm", say.field(epsilon != RmsNorm().epsilon, "epsilon", epsilon));
    }

    /// Throws unless ε is a number that is not negative.
    void check() const {
        detail::require(epsilon >= 0 && epsilon <= std::numeric_limits<double>::max(),
                        "rms_norm: epsilon must be a number that is not negative, got ", epsilon);
    }

    /// y = factor · g · x / rms(x) of one row; y may be x.
    template <class C, class X, class Y, class G>
    void row(const detail::FeatureRow<C, X>& x, const detail::FeatureRow<C, Y>& y, Index size,
             const detail::FeatureRow<C, G>& gain, C factor = C(1)) const {
        namespace simd = detail::simd;
        const auto scale = simd::broadcast(inverse(x, size) * factor);
        detail::by_packets<C>(
            size, [&](Index a, Index n) { y.store(a, n, simd::mul(simd::mul(x.load(a, n), scale), gain.load(a, n))); });
    }
    /// Of dy makes the gradient of x: `put(a, count, packet)` takes it. Adds that of the gain, if there is one. A row
    /// whose dy is 0 has gradient 0, whatever it holds: a masked one may hold NaN.
    template <class C, class X, class D, class G, class DG, class Put>
    void row_backward(const detail::FeatureRow<C, X>& x, const detail::FeatureRow<C, D>& dy, Index size,
                      const detail::FeatureRow<C, G>& gain, const detail::FeatureRow<C, DG>& dgain, C factor,
                      Put&& put) const {
        namespace simd = detail::simd;
        const auto zero = simd::broadcast(C(0)), by_factor = simd::broadcast(factor);
        auto sizes = zero;
        detail::by_packets<C>(size, [&](Index a, Index n) { sizes = simd::add(sizes, simd::abs(dy.load(a, n))); });
        if (simd::sum<C>(sizes) == C(0)) {
            detail::by_packets<C>(size, [&](Index a, Index n) { put(a, n, zero); });
            return;
        }
        const auto scale = simd::broadcast(inverse(x, size));
        auto along = zero;
        detail::by_packets<C>(size, [&](Index a, Index n) {
            const auto unit = simd::mul(x.load(a, n), scale), d = simd::mul(dy.load(a, n), by_factor);
            if (dgain.data != nullptr) dgain.store(a, n, simd::madd(d, unit, dgain.load(a, n)));
            along = simd::madd(simd::mul(d, gain.load(a, n)), unit, along);
        });
        const auto mean = simd::broadcast(-simd::sum<C>(along) / static_cast<C>(size));
        detail::by_packets<C>(size, [&](Index a, Index n) {
            const auto unit = simd::mul(x.load(a, n), scale),
                       d = simd::mul(simd::mul(dy.load(a, n), by_factor), gain.load(a, n));
            put(a, n, simd::mul(simd::madd(unit, mean, d), scale));
        });
    }

private:
    /// 1 / √(mean(x²) + ε); 0 of zeros with ε = 0.
    template <class C, class X>
    C inverse(const detail::FeatureRow<C, X>& x, Index size) const {
        using std::sqrt;
        const auto at = [&x](Index a, Index n) { return x.load(a, n); };
        const C n = static_cast<C>(size), sum = detail::sum_of_squares<C>(size, at),
                of_epsilon = static_cast<C>(epsilon);
        if (detail::squares_hold(sum)) return C(1) / sqrt(sum / n + of_epsilon);
        const C rms = std::hypot(detail::row_length<C>(size, at) / sqrt(n), static_cast<C>(std::sqrt(epsilon)));
        return rms == C(0) ? C(0) : C(1) / rms;
    }
};

}  // namespace attend

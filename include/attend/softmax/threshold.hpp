#pragma once
/// \file
/// What sparsemax and entmax share: weights max(x − τ, 0)^power that sum to 1.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Replaces a row x by max(x − τ, 0)^power, power 1 or 2, with the τ for which it sums to 1. Newton's method from τ =
/// max x − 1: the sum is convex and falls in τ, so the steps rise and never pass the root; for power 1 they end
/// exactly, after at most one step a support, for power 2 they converge quadratically. O(n) a step, no scratch, no
/// sorting. A row of −∞ becomes 0; +∞ takes all weight, in equal shares; NaN spreads to the whole row.
template <int power, class T>
void threshold_row(std::span<T> row) {
    static_assert(power == 1 || power == 2);
    using std::isnan, std::sqrt;
    constexpr T infinity = std::numeric_limits<T>::infinity();
    T most = -infinity;
    bool any_nan = false;
    for (const T x : row) {
        most = x > most ? x : most;
        any_nan = any_nan || isnan(x);
    }
    if (any_nan) return std::fill(row.begin(), row.end(), std::numeric_limits<T>::quiet_NaN());
    if (most == -infinity) return std::fill(row.begin(), row.end(), T(0));
    if (most == infinity) {
        const auto shares = static_cast<T>(std::count(row.begin(), row.end(), infinity));
        for (T& x : row) x = x == infinity ? T(1) / shares : T(0);
        return;
    }
    for (T& x : row) x -= most;  // now x ≤ 0 and τ lies in [−1, 0)
    T tau(-1);
    for (;;) {
        T count(0), sum(0), squares(0);
        for (const T x : row) {
            const T above = x - tau;
            if (above > T(0)) count += T(1), sum += above, squares += above * above;
        }
        const T step = power == 1 ? (sum - T(1)) / count : (squares - T(1)) / (T(2) * sum);
        if (!(tau + step > tau)) break;  // rounding ends the rise
        tau += step;
    }
    T total(0);
    for (T& x : row) {
        const T above = std::max(x - tau, T(0));
        x = power == 1 ? above : above * above;
        total += x;
    }
    for (T& x : row) x /= total;  // the last rounding of τ, spread over the row
}

}  // namespace attend::detail

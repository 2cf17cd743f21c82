#pragma once
/// \file
/// Softmax over the k largest scores.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/softmax/softmax.hpp>

namespace attend::inline ATTEND_ABI {

/// Softmax over the k largest scores of a row; of equal scores the lower key is kept. k = 1 is hard attention. The
/// choice itself has no gradient. The LSE is over the kept scores. NaN spreads to the whole row.
struct TopK {
    static constexpr Kind kind = Kind::normalizer;

    Index k = 1;  ///< above 0

    auto spelled(const auto& say) const { return say("top_k", k); }

    template <class T>
    T normalize(std::span<T> row, const RowPosition&) const {
        constexpr T infinity = std::numeric_limits<T>::infinity();
        const T threshold = kth_largest(row);
        // Scores equal to the threshold fill the places that larger ones leave, from the lowest key on.
        Index places =
            k - static_cast<Index>(std::count_if(row.begin(), row.end(), [&](T s) { return s > threshold; }));
        for (T& s : row) {
            if (s > threshold || s != s) continue;
            if (s < threshold || places-- <= 0) s = -infinity;
        }
        return detail::softmax_row(row);
    }
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T, const RowPosition&, TopK*) const {
        detail::softmax_row_backward(p, dp);
    }

private:
    /// The k-th largest score, or the smallest of a shorter row: each round descends to the next smaller value and
    /// counts it, so the cost is O(n · distinct values kept), without scratch.
    template <class T>
    T kth_largest(std::span<const T> row) const {
        constexpr T infinity = std::numeric_limits<T>::infinity();
        T threshold = infinity;
        Index reached = static_cast<Index>(std::count(row.begin(), row.end(), infinity));
        while (reached < k) {
            T next = -infinity;
            for (const T s : row) next = s < threshold && s > next ? s : next;
            threshold = next;
            if (next == -infinity) break;
            reached += static_cast<Index>(std::count(row.begin(), row.end(), next));
        }
        return threshold;
    }
    template <class T>
    T kth_largest(std::span<T> row) const {
        return kth_largest(std::span<const T>(row));
    }
};

/// Throws unless k is above 0.
inline TopK top_k(Index k) {
    detail::require(k > 0, "top_k: k must be above 0, got ", k);
    return {k};
}

}  // namespace attend

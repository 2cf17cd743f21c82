#pragma once
/// \file
/// Normalizers on single rows of scores.

#include <limits>
#include <span>
#include <vector>

#include <attend/softmax/softmax.hpp>

namespace attend::test {

inline constexpr double infinity = std::numeric_limits<double>::infinity();

struct Normalized {
    std::vector<double> weights;
    double lse;
};

template <class Normalizer>
Normalized normalized(const Normalizer& normalizer, std::vector<double> scores, const RowPosition& where = {}) {
    const double lse = normalizer.normalize(std::span<double>(scores), where);
    return {scores, lse};
}

inline double sum_of(const std::vector<double>& row) {
    double sum = 0;
    for (const double x : row) sum += x;
    return sum;
}

inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
    double most = a.size() == b.size() ? 0 : infinity;
    for (std::size_t i = 0; most < infinity && i < a.size(); ++i) {
        const double apart = a[i] == b[i] ? 0 : std::abs(a[i] - b[i]);
        most = apart <= most ? most : apart < infinity ? apart : infinity;
    }
    return most;
}

inline double lse_of(const std::vector<double>& scores) { return normalized(softmax, scores).lse; }

}  // namespace attend::test

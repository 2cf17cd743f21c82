#pragma once

#include "layers.hpp"

#include <vector>

namespace support {

inline constexpr Eigen::Index uncounted = -1;  ///< stands for a target whose prediction is not asked for

/// The sum of -log p over the counted targets, one a row, and its gradient, scaled, in the log-probabilities.
template <class T>
T cross_entropy(const std::vector<Eigen::Index>& targets, const Rows<T>& log_probabilities, T scale,
                Rows<T>& dlog_probabilities) {
    dlog_probabilities.setZero(log_probabilities.rows(), log_probabilities.cols());
    T loss = 0;
    for (Eigen::Index row = 0; row < log_probabilities.rows(); ++row) {
        const Eigen::Index target = targets[static_cast<std::size_t>(row)];
        if (target == uncounted) continue;
        loss -= log_probabilities(row, target);
        dlog_probabilities(row, target) = -scale;
    }
    return loss;
}

}  // namespace support

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

/// The mean of -log p of answers that are 1 or 0, where p = σ(logit), and its gradient in the logits.
template <class T>
T logistic_loss(const Eigen::Array<T, Eigen::Dynamic, 1>& answers, const Eigen::Array<T, Eigen::Dynamic, 1>& logits,
                Eigen::Matrix<T, Eigen::Dynamic, 1>& dlogits) {
    const Eigen::Array<T, Eigen::Dynamic, 1> p = 1 / (1 + (-logits).exp());
    dlogits = (p - answers) / static_cast<T>(p.size());
    // log(1 + e^x) of x, the logit of the wrong answer
    const Eigen::Array<T, Eigen::Dynamic, 1> x = (1 - 2 * answers) * logits;
    return (x.max(T(0)) + (-x.abs()).exp().log1p()).mean();
}

}  // namespace support

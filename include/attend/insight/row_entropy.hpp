#pragma once
/// \file
/// The entropy of each row of weights: how widely a query looks.

#include <limits>

#include <attend/insight/row_folds.hpp>
#include <attend/softmax/log.hpp>

namespace attend::inline ATTEND_ABI {

/// −Σ p log p of each row, in nats: 0 of a row that looks at one key or at none, log n of one that looks at n alike.
/// Of weights that do not sum to 1, as a sigmoid's or those beside a sink, the same sum. An error of a few roundings,
/// times 1 + the entropy, besides what those of the weights bring. O(rows · heads) memory.
template <class T>
class RowEntropy {
public:
    /// rows × heads
    const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>& values() const { return values_; }

    void start(const WeightsShape& shape) { values_.setZero(shape.rows, shape.heads); }
    void take(const WeightsTile<T>& tile) {
        namespace simd = detail::simd;
        detail::fold_rows<detail::SumOfRow<T>>(tile, tile.weights, tile.factors, &values_(tile.row, tile.head),
                                               [](const simd::Packet<T>& sum, const simd::Packet<T>& weight,
                                                  const simd::Packet<T>& factor) ATTEND_ALWAYS_INLINE {
                                                   // A weight that is no normal number, or 0, is multiplied by the
                                                   // logarithm of the least that is.
                                                   const auto p = simd::mul(weight, factor);
                                                   const auto least = simd::broadcast(std::numeric_limits<T>::min());
                                                   return simd::madd(p, detail::minus_log<T>(simd::max(p, least)), sum);
                                               });
    }

private:
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> values_;
};
/// `row_entropy<float>()`.
template <class T>
RowEntropy<T> row_entropy() {
    return {};
}

}  // namespace attend

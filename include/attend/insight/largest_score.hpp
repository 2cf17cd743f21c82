#pragma once
/// \file
/// The largest final score of each row and head, which grows where training is about to fail: by it QK-clip scales the
/// weights of queries and keys (Kimi K2, 2025).

#include <attend/insight/row_folds.hpp>

namespace attend::inline ATTEND_ABI {

/// The largest score behind modifiers and mask: −∞ of a row that sees no key, NaN where a visible score is. O(rows ·
/// heads) memory.
template <class T>
class LargestScore {
public:
    static constexpr bool sees_scores = true;

    /// rows × heads
    const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>& values() const { return values_; }
    /// 1 × heads: the largest of all rows.
    const Eigen::Matrix<T, 1, Eigen::Dynamic>& of_heads() const { return of_heads_; }

    void start(const WeightsShape& shape) {
        values_.setConstant(shape.rows, shape.heads, Join::none);
        of_heads_.setConstant(shape.heads, Join::none);
    }
    void take(const WeightsTile<T>& tile) {
        namespace simd = detail::simd;
        detail::fold_rows<Join>(tile, tile.scores, static_cast<const T*>(nullptr), &values_(tile.row, tile.head),
                                [](const simd::Packet<T>& most, const simd::Packet<T>& score, const simd::Packet<T>&)
                                    ATTEND_ALWAYS_INLINE { return Join::join(most, score); });
    }
    void finish(const WeightsShape& shape) {
        for (Index head = 0; shape.rows > 0 && head < shape.heads; ++head)
            of_heads_[head] = values_.col(head).template maxCoeff<Eigen::PropagateNaN>();
    }

private:
    using Join = detail::LargestOfRow<T>;

    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> values_;
    Eigen::Matrix<T, 1, Eigen::Dynamic> of_heads_;
};
/// `largest_score<float>()`.
template <class T>
LargestScore<T> largest_score() {
    return {};
}

}  // namespace attend

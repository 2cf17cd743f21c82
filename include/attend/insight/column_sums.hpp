#pragma once
/// \file
/// Column sums of the weights: how much each key is looked at.

#include <algorithm>
#include <utility>

#include <attend/core/insight.hpp>
#include <attend/core/simd.hpp>

namespace attend::inline ATTEND_ABI {

/// Σ_i r_i p_ij for each key j and head, over all rows i of its sequence, where r_i is 1, or the weight that the row
/// was given. Summed up in T, for up to 4 parts of the rows apart. O(sequences · heads · keys) memory.
template <class T>
class ColumnSums {
public:
    ColumnSums() = default;
    /// Row i counts `row_weights[i]` times; rows are counted through all sequences.
    explicit ColumnSums(ColumnVector<T> row_weights) : row_weights_(std::move(row_weights)), weighs_rows_(true) {}

    /// (heads · sequences) × keys: the sequences of a head below each other, the heads' blocks below each other, as of
    /// the weights. 0 behind the keys of a shorter sequence.
    auto values() const { return sums_.topRows(lines_); }
    /// 1 × keys: of one head of one sequence.
    auto of(Index head, Index sequence = 0) const { return sums_.row(head * sequences_ + sequence); }
    /// 1 × keys: of one sequence, the mean over all heads.
    Eigen::Matrix<T, 1, Eigen::Dynamic> mean(Index sequence = 0) const {
        Eigen::Matrix<T, 1, Eigen::Dynamic> mean = of(0, sequence);
        for (Index head = 1; head < heads_; ++head) mean += of(head, sequence);
        return mean / static_cast<T>(heads_);
    }

    /// The weights of the rows; empty where each counts once.
    /// @{
    ColumnVector<T>& row_weights() { return row_weights_; }
    const ColumnVector<T>& row_weights() const { return row_weights_; }
    /// @}

    void check(const WeightsShape& shape) const {
        if (weighs_rows_ && row_weights_.size() != shape.rows)
            detail::refuse("column_sums: ", row_weights_.size(), " weights of rows are given, but q has ", shape.rows,
                           " rows");
    }
    void start(const WeightsShape& shape) {
        sequences_ = shape.sequences, heads_ = shape.heads, lines_ = sequences_ * heads_;
        sums_.setZero(lines_ * shape.parts, shape.keys);
    }
    bool wants(Index, Index row, Index rows) const {
        return !weighs_rows_ || (row_weights_.segment(row, rows).array() != T(0)).any();
    }
    void take(const WeightsTile<T>& tile) {
        T* const to = &sums_(tile.part * lines_ + tile.head * sequences_ + tile.sequence, tile.key);
        tile.row_stride == 1 ? take_lanes(tile, to) : take_rows(tile, to);
    }
    void finish(const WeightsShape& shape) {
        for (Index part = 1; part < shape.parts; ++part)
            sums_.topRows(lines_) += sums_.middleRows(part * lines_, lines_);
    }

private:
    static constexpr Index w = detail::simd::width<T>;

    const T* weights_of(const WeightsTile<T>& tile) const {
        return weighs_rows_ ? row_weights_.data() + tile.row : nullptr;
    }
    /// Queries in lanes: as many keys at a time as make a packet of sums.
    void take_lanes(const WeightsTile<T>& tile, T* to) const {
        namespace simd = detail::simd;
        const T* const r = weights_of(tile);
        for (Index j = 0; j < tile.keys; j += w) {
            const Index count = std::min(w, tile.keys - j);
            simd::Packet<T> sums[w];
            for (auto& sum : sums) sum = simd::broadcast(T(0));
            for (Index i = 0; i < tile.rows; i += w) {
                const Index lanes = std::min(w, tile.rows - i);
                const T* const from = tile.weights + i;
                auto factor = simd::load(tile.factors + i, lanes, T(0));
                if (r != nullptr) factor = simd::mul(factor, simd::load(r + i, lanes, T(0)));
                if (count == w && lanes == w) {
                    detail::repeat<static_cast<int>(w)>([&](auto c) ATTEND_ALWAYS_INLINE {
                        sums[c] = simd::madd(simd::load(from + (j + c) * tile.key_stride), factor, sums[c]);
                    });
                } else {
                    for (Index c = 0; c < count; ++c)
                        sums[c] =
                            simd::madd(simd::load(from + (j + c) * tile.key_stride, lanes, T(0)), factor, sums[c]);
                }
            }
            simd::store<T>(to + j, simd::add(simd::load(to + j, count, T(0)), simd::sums_of_rows<T>(sums)), count);
        }
    }
    /// Keys in lanes.
    void take_rows(const WeightsTile<T>& tile, T* to) const {
        namespace simd = detail::simd;
        const T* const r = weights_of(tile);
        for (Index j = 0; j < tile.keys; j += w) {
            const Index count = std::min(w, tile.keys - j);
            auto sum = simd::broadcast(T(0));
            for (Index i = 0; i < tile.rows; ++i) {
                const T factor = r == nullptr ? tile.factors[i] : tile.factors[i] * r[i];
                sum = simd::madd(simd::load(tile.weights + i * tile.row_stride + j, count, T(0)),
                                 simd::broadcast(factor), sum);
            }
            simd::store<T>(to + j, simd::add(simd::load(to + j, count, T(0)), sum), count);
        }
    }

    ColumnVector<T> row_weights_;
    bool weighs_rows_ = false;
    RowMatrix<T> sums_;  ///< (parts · heads · sequences) × keys; in the end the first part has all
    Index sequences_ = 0, heads_ = 0, lines_ = 0;
};
/// `column_sums<float>()`: how much each key is looked at.
template <class T>
ColumnSums<T> column_sums() {
    return {};
}
/// `column_sums<float>(r)`: Σ_i r_i p_ij, of an r with a number a row of the call, which is held: a copy, or moved.
template <class T>
ColumnSums<T> column_sums(ColumnVector<T> row_weights) {
    return ColumnSums<T>(std::move(row_weights));
}

}  // namespace attend

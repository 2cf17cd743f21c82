#pragma once
/// \file
/// The keys that each row looks at most.

#include <algorithm>

#include <attend/core/insight.hpp>
#include <attend/core/simd.hpp>

namespace attend::inline ATTEND_ABI {

/// The k keys of the largest weights of each row, the largest first, of equal ones the first key first. Keys of weight
/// 0 are none. O(rows · heads · k) memory.
template <class T>
class TopKeys {
public:
    explicit TopKeys(Index k) : k_(k) { detail::require(k > 0, "top_keys: needs at least one key, got ", k); }

    /// rows × (heads · k): counted from the sequence's first key; −1 where there is none.
    const RowMatrix<Index>& keys() const { return keys_; }
    /// rows × (heads · k): their weights; 0 where there is none.
    const RowMatrix<T>& weights() const { return weights_; }

    void start(const WeightsShape& shape) {
        keys_.setConstant(shape.rows, shape.heads * k_, -1);
        weights_.setZero(shape.rows, shape.heads * k_);
    }
    void take(const WeightsTile<T>& tile) {
        namespace simd = detail::simd;
        constexpr Index w = simd::width<T>;
        T values[w];
        if (tile.row_stride == 1) {
            for (Index i = 0; i < tile.rows; i += w) {
                const Index count = std::min(w, tile.rows - i);
                const auto factor = simd::load(tile.factors + i, count, T(0));
                auto least = least_of(tile, i, count);
                for (Index j = 0; j < tile.keys; ++j) {
                    const auto p = simd::mul(simd::load(tile.weights + i + j * tile.key_stride, count, T(0)), factor);
                    if (!simd::any<T>(simd::less(least, p))) continue;
                    simd::store(values, p);
                    for (Index lane = 0; lane < count; ++lane) insert(tile, i + lane, tile.key + j, values[lane]);
                    least = least_of(tile, i, count);
                }
            }
            return;
        }
        for (Index i = 0; i < tile.rows; ++i) {
            const auto factor = simd::broadcast(tile.factors[i]);
            for (Index j = 0; j < tile.keys; j += w) {
                const Index count = std::min(w, tile.keys - j);
                const auto p = simd::mul(simd::load(tile.weights + i * tile.row_stride + j, count, T(0)), factor);
                if (!simd::any<T>(simd::less(simd::broadcast(weights_of(tile, i)[k_ - 1]), p))) continue;
                simd::store(values, p);
                for (Index lane = 0; lane < count; ++lane) insert(tile, i, tile.key + j + lane, values[lane]);
            }
        }
    }

private:
    T* weights_of(const WeightsTile<T>& tile, Index i) { return &weights_(tile.row + i, tile.head * k_); }
    /// What a weight must exceed, by row.
    detail::simd::Packet<T> least_of(const WeightsTile<T>& tile, Index i, Index count) {
        T least[detail::simd::width<T>] = {};
        for (Index lane = 0; lane < count; ++lane) least[lane] = weights_of(tile, i + lane)[k_ - 1];
        return detail::simd::load<T>(least);
    }
    void insert(const WeightsTile<T>& tile, Index i, Index key, T weight) {
        T* const weights = weights_of(tile, i);
        if (!(weight > weights[k_ - 1])) return;
        Index* const keys = &keys_(tile.row + i, tile.head * k_);
        Index place = k_ - 1;
        for (; place > 0 && weight > weights[place - 1]; --place)
            weights[place] = weights[place - 1], keys[place] = keys[place - 1];
        weights[place] = weight, keys[place] = key;
    }

    Index k_;
    RowMatrix<Index> keys_;
    RowMatrix<T> weights_;
};
template <class T>
TopKeys<T> top_keys(Index k) {
    return TopKeys<T>(k);
}

}  // namespace attend

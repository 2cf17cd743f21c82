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
    /// Throws unless k is above 0.
    explicit TopKeys(Index k) : k_(k) { detail::require(k > 0, "top_keys: needs at least one key, got ", k); }

    /// rows × (heads · k): counted from the sequence's first key; −1 where there is none.
    const RowMatrix<Index>& keys() const { return keys_; }
    /// rows × (heads · k): their weights; 0 where there is none.
    const RowMatrix<T>& weights() const { return weights_; }

    void start(const WeightsShape& shape) {
        keys_.setConstant(shape.rows, shape.heads * k_, -1);
        weights_.setZero(shape.rows, shape.heads * k_);
    }
    void take(const WeightsTile<T>& tile) { tile.row_stride == 1 ? take_lanes(tile) : take_rows(tile); }

private:
    static constexpr Index w = detail::simd::width<T>;

    /// Queries in lanes.
    void take_lanes(const WeightsTile<T>& tile) {
        namespace simd = detail::simd;
        for (Index i = 0; i < tile.rows; i += w) {
            const Index count = std::min(w, tile.rows - i);
            const auto factor = simd::load(tile.factors + i, count, T(0));
            T least[w] = {}, values[w];  // what a weight must exceed, by row
            for (Index lane = 0; lane < count; ++lane) least[lane] = weights_of(tile, i + lane)[k_ - 1];
            auto bound = simd::load<T>(least);
            for (Index j = 0; j < tile.keys; ++j) {
                const auto p = simd::mul(simd::load(tile.weights + i + j * tile.key_stride, count, T(0)), factor);
                if (!simd::any<T>(simd::less(bound, p))) continue;
                simd::store(values, p);
                for (Index lane = 0; lane < count; ++lane) {
                    if (values[lane] > least[lane]) least[lane] = insert(tile, i + lane, tile.key + j, values[lane]);
                }
                bound = simd::load<T>(least);
            }
        }
    }
    /// Keys in lanes.
    void take_rows(const WeightsTile<T>& tile) {
        namespace simd = detail::simd;
        for (Index i = 0; i < tile.rows; ++i) {
            const auto factor = simd::broadcast(tile.factors[i]);
            T least = weights_of(tile, i)[k_ - 1], values[w];
            for (Index j = 0; j < tile.keys; j += w) {
                const Index count = std::min(w, tile.keys - j);
                const auto p = simd::mul(simd::load(tile.weights + i * tile.row_stride + j, count, T(0)), factor);
                if (!simd::any<T>(simd::less(simd::broadcast(least), p))) continue;
                simd::store(values, p);
                for (Index lane = 0; lane < count; ++lane) {
                    if (values[lane] > least) least = insert(tile, i, tile.key + j + lane, values[lane]);
                }
            }
        }
    }
    T* weights_of(const WeightsTile<T>& tile, Index i) { return &weights_(tile.row + i, tile.head * k_); }
    /// Puts a key in its place among those of row i; returns the least weight there.
    T insert(const WeightsTile<T>& tile, Index i, Index key, T weight) {
        T* const weights = weights_of(tile, i);
        Index* const keys = &keys_(tile.row + i, tile.head * k_);
        Index place = k_ - 1;
        for (; place > 0 && weight > weights[place - 1]; --place)
            weights[place] = weights[place - 1], keys[place] = keys[place - 1];
        weights[place] = weight, keys[place] = key;
        return weights[k_ - 1];
    }

    Index k_;
    RowMatrix<Index> keys_;
    RowMatrix<T> weights_;
};
/// `top_keys<float>(5)`. Throws unless k is above 0.
template <class T>
TopKeys<T> top_keys(Index k) {
    return TopKeys<T>(k);
}

}  // namespace attend

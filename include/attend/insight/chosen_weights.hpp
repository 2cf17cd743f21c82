#pragma once
/// \file
/// The weights of some rows and heads, and their mean over heads.

#include <algorithm>
#include <utility>
#include <vector>

#include <attend/core/insight.hpp>
#include <attend/core/options.hpp>
#include <attend/core/row_lanes.hpp>

namespace attend::inline ATTEND_ABI {

/// Which rows, counted through all sequences, and which heads; all where none are named.
struct WeightsChoice {
    QueryRows rows = {};            ///< in rising order
    std::vector<Index> heads = {};  ///< in rising order
};

/// The weights of chosen rows of chosen heads: with neither all n², as `.weights` gives them. Blocks without a chosen
/// row are not weighed again. O(chosen rows · chosen heads · keys) memory.
template <class T>
class ChosenWeights {
public:
    /// Throws unless the heads rise from 0 on; a call throws where it has no such row or head.
    explicit ChosenWeights(WeightsChoice choice = {}) : choice_(std::move(choice)) {
        for (std::size_t i = 0; i < choice_.heads.size(); ++i) {
            const Index least = i == 0 ? 0 : choice_.heads[i - 1] + 1;
            detail::require(choice_.heads[i] >= least, "chosen_weights: heads must rise from 0 on, but head ",
                            choice_.heads[i], " is number ", i);
        }
    }

    /// (heads · rows) × keys, of those that are chosen: the heads' blocks below each other. 0 behind the keys of a
    /// shorter sequence.
    const RowMatrix<T>& values() const { return values_; }
    /// The block of chosen head number `head`.
    auto of_head(Index head) const { return values_.middleRows(head * rows_, rows_); }
    /// How many heads there are.
    Index heads() const { return heads_; }

    void check(const WeightsShape& shape) const {
        const auto rows = choice_.rows.get();
        if (!rows.empty() && rows.back() >= shape.rows)
            detail::refuse("chosen_weights: there is no row ", rows.back(), ", q has ", shape.rows, " rows");
        if (!choice_.heads.empty() && choice_.heads.back() >= shape.heads)
            detail::refuse("chosen_weights: there is no head ", choice_.heads.back(), ", q has ", shape.heads,
                           " heads");
    }
    void start(const WeightsShape& shape) {
        rows_ = choice_.rows ? std::ssize(choice_.rows.get()) : shape.rows;
        heads_ = choice_.heads.empty() ? shape.heads : std::ssize(choice_.heads);
        values_.setZero(heads_ * rows_, shape.keys);
    }
    bool wants(Index head, Index row, Index rows) const {
        return number_of(head) >= 0 && (!choice_.rows || place_of(row) < place_of(row + rows));
    }
    void take(const WeightsTile<T>& tile) {
        const Index number = number_of(tile.head);
        if (number < 0) return;
        if (!choice_.rows && tile.row_stride == 1) {
            return detail::lanes_to_rows(tile.weights, tile.key_stride, 0, tile.factors, tile.rows, tile.keys,
                                         &values_(number * rows_ + tile.row, tile.key), values_.outerStride(),
                                         Index(1));
        }
        const Index from = choice_.rows ? place_of(tile.row) : tile.row,
                    end = choice_.rows ? place_of(tile.row + tile.rows) : tile.row + tile.rows;
        for (Index place = from; place < end; ++place) {
            const Index i = (choice_.rows ? choice_.rows.get()[static_cast<std::size_t>(place)] : place) - tile.row;
            T* const to = &values_(number * rows_ + place, tile.key);
            for (Index j = 0; j < tile.keys; ++j) to[j] = tile.weight(i, j);
        }
    }

private:
    /// Which of the chosen heads one is; −1: none.
    Index number_of(Index head) const {
        if (choice_.heads.empty()) return head;
        const auto at = std::lower_bound(choice_.heads.begin(), choice_.heads.end(), head);
        return at != choice_.heads.end() && *at == head ? at - choice_.heads.begin() : -1;
    }
    /// How many of the chosen rows stand before one.
    Index place_of(Index row) const {
        const auto rows = choice_.rows.get();
        return std::lower_bound(rows.begin(), rows.end(), row) - rows.begin();
    }

    WeightsChoice choice_;
    RowMatrix<T> values_;
    Index rows_ = 0, heads_ = 0;
};
/// `chosen_weights<float>({.rows = query_rows({3, 7}), .heads = {0, 2}})`
template <class T>
ChosenWeights<T> chosen_weights(WeightsChoice choice = {}) {
    return ChosenWeights<T>(std::move(choice));
}

/// The same, averaged over the chosen heads. While the call runs it holds all of them.
template <class T>
class MeanWeights : public ChosenWeights<T> {
public:
    using ChosenWeights<T>::ChosenWeights;

    /// rows × keys
    const RowMatrix<T>& mean() const { return mean_; }

    /// Divides the sums by the number of heads.
    void finish(const WeightsShape& shape) {
        mean_.setZero(this->heads() == 0 ? 0 : this->values().rows() / this->heads(), shape.keys);
        for (Index head = 0; head < this->heads(); ++head) mean_ += this->of_head(head);
        mean_ /= static_cast<T>(this->heads());
    }

private:
    RowMatrix<T> mean_;
};
/// `mean_weights<float>({.rows = query_rows({3, 7})})`.
template <class T>
MeanWeights<T> mean_weights(WeightsChoice choice = {}) {
    return MeanWeights<T>(std::move(choice));
}

}  // namespace attend

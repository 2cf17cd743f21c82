#pragma once
/// \file
/// Attention rollout: how much each token of the input goes into a token behind many layers.
///
/// Source: Abnar and Zuidema 2020.

#include <utility>

#include <attend/insight/column_sums.hpp>

namespace attend::inline ATTEND_ABI {

/// r · Π_l (½ A_l + ½ I), where A_l is the mean over heads of the weights of layer l, for a row r over the tokens: one
/// call from the last layer to the first each takes one layer in, without its matrix.
///
///     auto r = rollout<float>(n, token);
///     for (each layer, the last one first) attention(q, k, v, out, {.insight = r});
///     r.values();  // how much of the token behind the last layer is of each token
///
/// Layers are self-attention: each sequence has as many queries as keys. O(heads · n) memory.
template <class T>
class Rollout {
public:
    /// Starts from a weight for each token, counted through all sequences.
    explicit Rollout(ColumnVector<T> start) : sums_(std::move(start)) {}

    /// The weight of each token so far.
    const ColumnVector<T>& values() const { return sums_.row_weights(); }

    void check(const WeightsShape& shape) const {
        if (values().size() != shape.rows)
            detail::refuse("rollout: it started with ", values().size(), " tokens, but q has ", shape.rows, " rows");
        for (Index s = 0; s < shape.sequences; ++s) {
            const auto [first, queries, keys] = shape.extent(s);
            if (queries != keys)
                detail::refuse("rollout: layers must be self-attention, but sequence ", s, " has ", queries,
                               " queries and ", keys, " keys");
        }
    }
    void start(const WeightsShape& shape) { sums_.start(shape); }
    bool wants(Index head, Index row, Index rows) const { return sums_.wants(head, row, rows); }
    void take(const WeightsTile<T>& tile) { sums_.take(tile); }
    void finish(const WeightsShape& shape) {
        sums_.finish(shape);
        for (Index s = 0; s < shape.sequences; ++s) {
            const auto [first, queries, keys] = shape.extent(s);
            auto r = sums_.row_weights().segment(first, queries);
            r *= T(0.5);
            for (Index head = 0; head < shape.heads; ++head)
                r += T(0.5) / static_cast<T>(shape.heads) * sums_.of(head, s).head(keys).transpose();
        }
    }

private:
    ColumnSums<T> sums_;
};
/// `rollout<float>(start)`, from a share for each row: held, a copy or moved.
template <class T>
Rollout<T> rollout(ColumnVector<T> start) {
    return Rollout<T>(std::move(start));
}
/// From one of `tokens` tokens. Throws where there is none of that number.
template <class T>
Rollout<T> rollout(Index tokens, Index token) {
    detail::require(token >= 0 && token < tokens, "rollout: there is no token ", token, " of ", tokens);
    return Rollout<T>(ColumnVector<T>::Unit(tokens, token));
}

}  // namespace attend

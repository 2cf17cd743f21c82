#pragma once
/// \file
/// The weights of a block's rows for those who want them: written, of all rows or of some, and shown to reductions.

#include <algorithm>
#include <span>
#include <utility>

#include <attend/core/insight.hpp>
#include <attend/core/row_lanes.hpp>
#include <attend/kernel/block_scratch.hpp>
#include <attend/kernel/walk.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Where weights go, of all rows or of some; nowhere, where there is no memory.
template <class T>
struct WeightsOutput {
    StridedView<T> to;
    bool some = false;
    std::span<const Index> rows;  ///< which, in rising order

    bool wanted() const { return to.data != nullptr; }
};

/// What is done with a block's weights, tile by tile, once what each row's are to be multiplied by is known.
template <class T, class X>
class BlockWeights {
public:
    /// `by_rows`: features or keys stand in lanes instead of queries.
    BlockWeights(const BlockRows<T, X>& rows, const Scratch<T>& scratch, bool by_rows)
        : rows_(rows), factor_(scratch.rows.factor), scores_(scratch.seen), by_rows_(by_rows) {}

    /// Writes factor ∘ weights of a tile, after dropout, into the block's rows of the weights.
    ATTEND_NOINLINE void write(Index begin, Index count, const T* weights, const ScoreStrides& apart,
                               const WeightsOutput<T>& output) const {
        const StridedView<T>& to = output.to;
        if (output.some) {
            return for_each_chosen(output, [&](auto row, Index lane) {
                for (Index j = 0; j < count; ++j)
                    row[begin + j] = factor_[lane] * weights[j * apart.key + lane * apart.query];
            });
        }
        for (Index h = 0; h < rows_.block.heads; ++h) {
            auto of_head = rows_.of(to, h).middleCols(begin, count);
            const Index from = h * rows_.block.rows;
            if (!by_rows_) {
                lanes_to_rows(weights, rows_.lanes, from, factor_, rows_.block.rows, count, of_head.data(),
                              of_head.outerStride(), of_head.innerStride());
                continue;
            }
            for (Index i = 0; i < rows_.block.rows; ++i) {
                for (Index j = 0; j < count; ++j)
                    of_head(i, j) = factor_[from + i] * weights[j * apart.key + (from + i) * apart.query];
            }
        }
    }
    /// The weights of keys that nobody sees, or that a shorter sequence has not.
    void hide(Index begin, Index end, const WeightsOutput<T>& output) const {
        if (output.some)
            return for_each_chosen(output, [&](auto row, Index) { row.segment(begin, end - begin).setZero(); });
        for (Index h = 0; h < rows_.block.heads; ++h) rows_.of(output.to, h).middleCols(begin, end - begin).setZero();
    }
    /// Whether weights of some of the block's rows are wanted.
    bool wants(const WeightsOutput<T>& output) const {
        if (!output.some) return output.wanted();
        const auto [from, end] = chosen(output);
        return output.wanted() && from < end;
    }

    /// Shows a tile of weights to those who look at them, head by head.
    ATTEND_NOINLINE void show(const KeyTile<T>& tile, const T* weights, const ScoreStrides& apart,
                              const Insight<T>& insight) const {
        for (Index h = 0; h < rows_.block.heads; ++h) {
            const Index lane = h * rows_.block.rows, from = lane * apart.query;
            insight.take({.sequence = rows_.block.sequence,
                          .head = rows_.block.head + h,
                          .part = rows_.block.part_of_head,
                          .row = first_row(),
                          .rows = rows_.block.rows,
                          .key = tile.begin,
                          .keys = tile.keys,
                          .query_position = rows_.position(lane, 0).query,
                          .key_position = tile.position,
                          .row_stride = apart.query,
                          .key_stride = apart.key,
                          .weights = weights + from,
                          .factors = factor_ + lane,
                          .scores = scores_ == nullptr ? nullptr : scores_ + from});
        }
    }
    /// Whether anybody looks at some of the block's rows.
    bool is_looked_at(const Insight<T>& insight) const {
        bool is = false;
        for (Index h = 0; insight && rows_.block.rows > 0 && h < rows_.block.heads; ++h)
            is = is || insight.wants(rows_.block.head + h, first_row(), rows_.block.rows);
        return is;
    }

private:
    /// The block's first row, counted through all sequences.
    Index first_row() const {
        const Problem<X>& problem = rows_.problem;
        const Index sequence = rows_.block.sequence;
        return problem.batch(sequence) * problem.q.rows + problem.first_row(sequence) + rows_.block.row;
    }
    /// Which of the chosen rows are the block's.
    std::pair<Index, Index> chosen(const WeightsOutput<T>& output) const {
        const Index start = rows_.problem.first_row(rows_.block.sequence) + rows_.block.row;
        const auto at = [&](Index row) {
            return std::lower_bound(output.rows.begin(), output.rows.end(), row) - output.rows.begin();
        };
        return {at(start), at(start + rows_.block.rows)};
    }
    /// Calls `f(row, lane)` for them, of each head.
    template <class F>
    void for_each_chosen(const WeightsOutput<T>& output, F&& f) const {
        const auto [from, end] = chosen(output);
        const Index start = rows_.problem.first_row(rows_.block.sequence) + rows_.block.row;
        for (Index h = 0; h < rows_.block.heads; ++h) {
            Slice<T> slice = rows_of(output.to, rows_.problem.batch(rows_.block.sequence) * output.to.sequence_stride,
                                     rows_.block.head + h, output.to.rows);
            for (Index i = from; i < end; ++i)
                f(slice.row(i), h * rows_.block.rows + output.rows[static_cast<std::size_t>(i)] - start);
        }
    }

    const BlockRows<T, X>& rows_;
    const T* factor_;
    const T* scores_;  ///< that they are of, where somebody looks at these
    bool by_rows_;
};

}  // namespace attend::detail::fused

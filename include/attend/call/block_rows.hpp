#pragma once
/// \file
/// Which query stands in which lane of a block, and what of a block's passes needs to know no more than that: nothing
/// here depends on the attention, so that it is compiled once for all of them.

#include <algorithm>
#include <memory>

#include <attend/call/plan.hpp>
#include <attend/core/lanes.hpp>
#include <attend/engine/engine.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

inline constexpr Index key_block = 64;

template <class T>
using StridedBlock = Eigen::Map<RowMatrix<T>, Eigen::Unaligned, Eigen::OuterStride<>>;

/// Some of the lanes of a block, whole packets.
struct LaneRange {
    Index begin, end;

    Index count() const { return end - begin; }
    bool has(Index lane) const { return begin <= lane && lane < end; }
};

/// The queries of a block, in lanes.
template <class T, class X>
class BlockRows {
public:
    static constexpr Index w = simd::width<T>;

    const Problem<X>& problem;
    const LaneBlock& block;
    Index lanes;  ///< whole packets

    BlockRows(const Problem<X>& problem_, const LaneBlock& block_)
        : problem(problem_), block(block_), lanes((block_.count() + w - 1) / w * w) {}

    /// Whether the call's keys and values are more than a cache holds.
    bool streams() const {
        const Shape& shape = problem.shape;
        return shape.all_keys() * shape.kv_heads * (shape.d_k + shape.d_v) > streamed_bytes / Index(sizeof(X));
    }
    Position position(Index lane, Index key) const {
        const Index head = lane / block.rows;
        return problem.row_position(block.sequence, block.head + head, block.row + lane - head * block.rows).at(key);
    }
    /// The rows of each head from one on whose positions go by one step.
    RowRun run(Index row) const { return problem.run(block.sequence, block.row + row, block.rows - row); }
    /// How many rows from one on stand at positions that follow each other.
    Index following(Index row) const { return problem.following(block.sequence, block.row + row, block.rows - row); }
    /// Rows of head h of the block, which follow each other, over some keys.
    Tile tile(Index head, Index row, Index rows, Index begin, Index keys) const {
        const Index query = problem.query_position(block.sequence, block.row + row);
        return {query,           query + rows,      begin,         begin + keys,
                block.row + row, block.head + head, block.kv_head, block.sequence};
    }
    /// The block's rows of its head h, in what goes with the queries.
    template <class View>
    auto of(const View& view, Index h) const {
        return rows_of(problem, view, block, h);
    }

    LaneRange all() const { return {0, lanes}; }
    /// Whether the positions of each packet follow each other, so that a range of lanes holds whole packets of rows.
    bool is_one_run() const { return block.heads == 1 && following(0) == block.rows; }

    /// Calls `f(lane, positions)` for packets of queries of each head, those that begin in a range of lanes.
    template <class F>
    void for_each_packet(Index key, F&& f) const {
        for_each_packet(key, all(), f);
    }
    template <class F>
    void for_each_packet(Index key, const LaneRange& range, F&& f) const {
        for (Index h = 0; h < block.heads; ++h) {
            for (Index begin = 0; begin < block.rows;) {
                const RowRun run = this->run(begin);
                const RowPosition first = problem.row_position(block.sequence, block.head + h, block.row + begin);
                for (Index i = 0; i < run.rows; i += w) {
                    if (!range.has(h * block.rows + begin + i)) continue;
                    const Index count = std::min(w, run.rows - i);
                    const LanePosition<T> p{{first.query + i * run.step, run.step, count},
                                            key,
                                            {first.row + i, 1, count},
                                            first.head,
                                            first.kv_head,
                                            first.sequence};
                    f(h * block.rows + begin + i, p);
                }
                begin += run.rows;
            }
        }
    }
    /// Calls `f(lane, position)` for the queries of each head one by one.
    template <class F>
    void for_each_row(Index key, F&& f) const {
        for (Index h = 0; h < block.heads; ++h) {
            for (Index begin = 0; begin < block.rows;) {
                const RowRun run = this->run(begin);
                Position p = problem.row_position(block.sequence, block.head + h, block.row + begin).at(key);
                for (const Index end = begin + run.rows; begin < end; ++begin, p.query += run.step, ++p.row)
                    f(h * block.rows + begin, p);
            }
        }
    }

    /// Multiplies the weights of a query and of keys in runs.
    template <class Batch>
    void drop_listed(const Batch& batch, const RowPosition& row, T* weights) const {
        if (!problem.dropout) return;
        batch.for_each_run([&](const KeySpan& run, Index first) {
            problem.dropout.apply_to_run(weights + first, run, row.at(run.begin));
        });
    }
    /// Multiplies the weights of a tile, or their gradients, by the factors of dropout.
    void drop(Index begin, Index keys, T* weights, const ScoreStrides& apart) const {
        drop(begin, keys, weights, apart, all());
    }
    /// Those of a range of lanes, where queries stand in lanes.
    void drop(Index begin, Index keys, T* weights, const ScoreStrides& apart, const LaneRange& range) const {
        if (!problem.dropout) return;
        if (apart.key == 1) {
            return for_each_row(begin, [&](Index lane, const Position& p) {
                problem.dropout.apply(weights + lane * apart.query, keys, p);
            });
        }
        for_each_packet(begin, range, [&](Index lane, const LanePosition<T>& p) {
            problem.dropout.apply(weights + lane, apart.key, keys, p);
        });
    }
};

/// A mask, asked pair by pair where speed does not count; its type is not known here.
class PairTest {
public:
    template <class Mask>
    explicit PairTest(const Mask& mask)
        : mask_(std::addressof(mask)), sees_([](const void* given, const Position& p) {
              return static_cast<bool>((*static_cast<const Mask*>(given))(p));
          }) {}
    bool operator()(const Position& p) const { return sees_(mask_, p); }

private:
    const void* mask_;
    bool (*sees_)(const void*, const Position&);
};

}  // namespace attend::detail::fused

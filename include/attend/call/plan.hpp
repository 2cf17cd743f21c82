#pragma once
/// \file
/// How a call is cut into blocks of queries, and those into tasks. The cut depends on the shape of a sequence alone,
/// never on threads or on the rest of the batch, and neither do a row's bits.

#include <algorithm>

#include <attend/call/problem.hpp>
#include <attend/engine/packets.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Queries that share a tile: `rows` rows of each of `heads` heads of one kv head. Lane = head · rows + row.
struct LaneBlock {
    Index sequence = 0, kv_head = 0;
    Index head = 0, heads = 1;
    Index row = 0, rows = 0;
    Index key_begin = 0, key_end = 0;
    Index chunk = 0, chunks = 1;  ///< which part of the sequence's keys these are
    Index partial = 0;            ///< of several chunks: which of the call's partial results the first one's is
    Index part_of_head = 0;       ///< which of its head's tasks it is of
    bool packs = false;           ///< its head has so many queries that it pays to pack keys and values
    bool first = true;            ///< of its head: those after it find keys and values in the cache

    Index count() const { return heads * rows; }

    /// Its rows from one to another, as a head counts them.
    LaneBlock part(Index from, Index to) const {
        LaneBlock block = *this;
        block.row = from;
        block.rows = to - from;
        return block;
    }
};

/// A block's rows of its head h, in an operand or result that goes with the queries.
template <class X, class View>
auto rows_of(const Problem<X>& problem, const View& view, const LaneBlock& block, Index h) {
    return problem.query_slice(view, block.sequence, block.head + h).middleRows(block.row, block.rows);
}

/// The blocks of one sequence.
template <class T>
class SequencePlan {
public:
    static constexpr Index w = simd::width<T>;
    static constexpr Index most_lanes = std::max<Index>(Registers<T>::vectors * w, 32);
    static constexpr Index chunk_keys = 1024;

    bool heads_together = false;  ///< few queries: heads of a group share a block, and each read of its keys and values
    Index heads = 1;              ///< of a block then, less in the last of a group
    Index blocks = 1;             ///< of a head, or of a kv head
    Index rows = 0;               ///< of a block and head at most
    Index lanes = w;              ///< of a block
    Index chunks = 1;             ///< into which the keys of a lone block are split, so that threads can share them

    /// `merges`: whether results over parts of the keys can be merged.
    SequencePlan(Index group, Index queries, Index keys, bool merges) : queries_(queries) {
        heads_together = queries <= most_lanes;  // however many heads: a head's bits are those that it has alone
        if (heads_together) {
            const Index most = group * queries <= most_lanes ? group : most_lanes / queries;
            blocks = (group + most - 1) / most;
            heads = (group + blocks - 1) / blocks;
            rows = queries;
            lanes = std::max<Index>(1, (heads * queries + w - 1) / w) * w;
            if (merges) chunks = std::max<Index>(1, (keys + chunk_keys - 1) / chunk_keys);
        } else {
            blocks = (packets() * w + most_lanes - 1) / most_lanes;
            lanes = rows = (packets() + blocks - 1) / blocks * w;
            blocks = (queries + rows - 1) / rows;
        }
    }

    /// The first row of a block of one head, where heads are not together: packets are spread evenly, so that no block
    /// has one or two where others have four.
    Index begin(Index block) const { return std::min(queries_, block * packets() / blocks * w); }
    /// Calls `f` with the blocks of a task, so many at a time, as parts of it.
    template <class F>
    void for_each_part(const LaneBlock& all, Index count, F&& f) const {
        if (heads_together) return f(all);
        for (Index row = all.row, end = all.row + all.rows; row < end;) {
            const Index next = std::min(end, begin(std::min(block_of(row) + count, blocks)));
            f(all.part(row, next));
            row = next;
        }
    }

private:
    /// The block that a row stands in.
    Index block_of(Index row) const { return ((row / w + 1) * blocks - 1) / packets(); }
    Index queries_;

    Index packets() const { return (queries_ + w - 1) / w; }
};

/// a / b, without the long division where it gives 0, as it always does in the first task.
constexpr Index quotient(Index a, Index b) { return a < b ? 0 : a / b; }

/// Where a worker stands in a ragged batch: its sequence, and the tasks and partial results of those before. Workers
/// take tasks in rising order, so that all of them together pass each sequence once.
struct PlanCursor {
    Index sequence = 0, tasks = 0, partials = 0;
};

/// The tasks of a call: each a block, or several of a head that follow each other.
template <class T, class X>
class Plan {
public:
    /// `team`: how many blocks of a head a task takes at most. Where there are `parts`, it takes instead as many as
    /// make so many tasks of a head, at most, by its sequence alone.
    Plan(const Problem<X>& problem, bool merges, Index team = 1, Index parts = 0)
        : problem_(problem),
          merges_(merges),
          team_(team),
          parts_(parts),
          first_(problem.shape.sequences > 0 ? of(0) : SequencePlan<T>(1, 0, 0, false)) {
        if (problem.ragged()) {
            for (Index s = 0; s < problem.shape.sequences; ++s) tasks_ += tasks_of(of(s));
        } else {
            tasks_ = problem.shape.sequences * tasks_of(first_);
        }
    }

    SequencePlan<T> of(Index sequence) const {
        return {problem_.shape.group(), problem_.queries(sequence), problem_.keys(sequence), merges_};
    }
    Index tasks() const { return tasks_; }

    /// All rows of a task, which is not before the one that `cursor` was last used for. Heads follow each other, and of
    /// a head the last block comes first: under a causal mask it is the longest.
    LaneBlock block(Index task, PlanCursor& cursor) const {
        if (!problem_.ragged()) {
            const Index tasks = tasks_of(first_), s = quotient(task, tasks);
            return block(s, task - s * tasks, first_, s * partials_of(first_));
        }
        for (;;) {
            const SequencePlan<T> plan = of(cursor.sequence);
            const Index tasks = tasks_of(plan);
            if (task < cursor.tasks + tasks) return block(cursor.sequence, task - cursor.tasks, plan, cursor.partials);
            ++cursor.sequence;
            cursor.tasks += tasks;
            cursor.partials += partials_of(plan);
        }
    }

private:
    LaneBlock block(Index s, Index task, const SequencePlan<T>& plan, Index partials) const {
        const Index group = problem_.shape.group(), per_head = plan.heads_together ? plan.chunks : teams_of(plan);
        const Index which = quotient(task, per_head), part = task - which * per_head;
        LaneBlock block{.sequence = s, .key_end = problem_.keys(s), .packs = !plan.heads_together && plan.blocks > 1};
        if (plan.heads_together) {
            block.kv_head = quotient(which, plan.blocks);
            const Index first = (which - block.kv_head * plan.blocks) * plan.heads;
            block.head = block.kv_head * group + first;
            block.heads = std::min(plan.heads, group - first);
            block.rows = plan.rows;
            block.chunk = part;
            block.chunks = plan.chunks;
            block.partial = partials + which * plan.chunks;
            block.key_begin = part * plan.chunk_keys;
            if (plan.chunks > 1) block.key_end = std::min(block.key_end, block.key_begin + plan.chunk_keys);
        } else {
            const Index blocks = blocks_of_task(plan), from = (per_head - 1 - part) * blocks;
            block.first = part == 0;
            block.part_of_head = part;
            block.kv_head = quotient(which, group);
            block.head = which;
            block.row = plan.begin(from);
            block.rows = plan.begin(std::min(from + blocks, plan.blocks)) - block.row;
        }
        return block;
    }

    Index blocks_of_task(const SequencePlan<T>& plan) const {
        return parts_ == 0 ? team_ : std::max<Index>(1, (plan.blocks + parts_ - 1) / parts_);
    }
    Index teams_of(const SequencePlan<T>& plan) const {
        const Index blocks = blocks_of_task(plan);
        return blocks == 1 ? plan.blocks : (plan.blocks + blocks - 1) / blocks;
    }
    Index partials_of(const SequencePlan<T>& plan) const {
        return plan.chunks > 1 ? problem_.shape.kv_heads * plan.blocks * plan.chunks : 0;
    }
    Index tasks_of(const SequencePlan<T>& plan) const {
        return plan.heads_together ? problem_.shape.kv_heads * plan.blocks * plan.chunks
                                   : problem_.shape.heads * teams_of(plan);
    }

    const Problem<X>& problem_;
    bool merges_;
    Index team_, parts_;
    SequencePlan<T> first_;  ///< of the first sequence; of all where none is ragged
    Index tasks_ = 0;
};

}  // namespace attend::detail

#include <attend/call/plan.hpp>

#include <algorithm>
#include <span>
#include <vector>

#include <support/catch.hpp>

using namespace attend;

namespace test_plan {
using attend::detail::LaneBlock;
using attend::detail::Plan;
using attend::detail::PlanCursor;
using attend::detail::Problem;
using attend::detail::SequencePlan;
using attend::detail::SequencesRef;

namespace {

/// The problem of operands with next to no memory: a plan looks at shapes alone.
template <class T>
Problem<T> problem_of(const Shape& n, const SequencesRef& sequences = {}, const SequencesRef& key_sequences = {}) {
    static const T somewhere{};
    const auto view = [&](Index heads, Index rows) {
        return strided<const T>(&somewhere, {n.sequences, heads, rows, 4}, {rows * heads * 4, 4, heads * 4, 1});
    };
    return {view(n.heads, n.queries), view(n.kv_heads, n.keys), view(n.kv_heads, n.keys), 0, sequences, key_sequences};
}

template <class T>
std::vector<LaneBlock> blocks_of(const Problem<T>& problem, bool splits, Index team = 1) {
    const Plan<T, T> plan(problem, splits, team);
    std::vector<LaneBlock> blocks;
    PlanCursor cursor;
    for (Index task = 0; task < plan.tasks(); ++task) {
        blocks.push_back(plan.block(task, cursor));
        // A worker that went through the batch from its beginning for each task would take the square of its length.
        if (problem.ragged()) CHECK(cursor.sequence == blocks.back().sequence);
    }
    return blocks;
}

/// Every pair of every head stands in one block, and every row in one first chunk: a row without keys has an output
/// too.
template <class T>
void check_each_pair_once(const Problem<T>& problem, bool splits, Index team = 1) {
    const Shape& n = problem.shape;
    CAPTURE(n.sequences, n.heads, n.kv_heads, n.queries, n.keys, splits, team);
    std::vector<int> pairs(static_cast<std::size_t>(n.sequences * n.heads * n.queries * n.keys));
    std::vector<int> rows(static_cast<std::size_t>(n.sequences * n.heads * n.queries));
    bool inside = true, of_its_group = true, one_chunk = true;
    for (const LaneBlock& b : blocks_of(problem, splits, team)) {
        one_chunk = one_chunk && b.chunks == 1;
        inside = inside && b.row + b.rows <= problem.queries(b.sequence) && b.key_end <= problem.keys(b.sequence) &&
                 b.chunk < b.chunks;
        for (Index head = b.head; inside && head < b.head + b.heads; ++head) {
            of_its_group = of_its_group && head / n.group() == b.kv_head;
            for (Index row = b.row; row < b.row + b.rows; ++row) {
                const Index at = (b.sequence * n.heads + head) * n.queries + row;
                rows[static_cast<std::size_t>(at)] += b.chunk == 0 ? 1 : 0;
                for (Index key = b.key_begin; key < b.key_end; ++key)
                    ++pairs[static_cast<std::size_t>(at * n.keys + key)];
            }
        }
    }
    CHECK(inside);
    CHECK(of_its_group);
    CHECK((splits || one_chunk));
    bool once = true;
    for (Index sequence = 0; sequence < n.sequences; ++sequence) {
        for (Index head = 0; head < n.heads; ++head) {
            for (Index row = 0; row < n.queries; ++row) {
                const Index at = (sequence * n.heads + head) * n.queries + row;
                const int expected = row < problem.queries(sequence) ? 1 : 0;
                once = once && rows[static_cast<std::size_t>(at)] == expected;
                for (Index key = 0; key < n.keys; ++key) {
                    once = once && pairs[static_cast<std::size_t>(at * n.keys + key)] ==
                                       (key < problem.keys(sequence) ? expected : 0);
                }
            }
        }
    }
    CHECK(once);
}

}  // namespace

TEST_CASE("the blocks of a call hold every pair of every head once") {
    for (const Index queries : {0, 1, 2, 7, 31, 33, 64, 130, 257}) {
        for (const Index keys : {0, 1, 100}) {
            for (const bool splits : {false, true}) {
                for (const Index kv_heads : {1, 2, 6}) {
                    const Shape shape{
                        .sequences = 2, .heads = 6, .kv_heads = kv_heads, .queries = queries, .keys = keys};
                    check_each_pair_once(problem_of<float>(shape), splits);
                    check_each_pair_once(problem_of<double>(shape), splits);
                    for (const Index team : {2, 8}) check_each_pair_once(problem_of<float>(shape), splits, team);
                }
                const Shape many{.heads = 150, .kv_heads = 2, .queries = std::min<Index>(queries, 33), .keys = keys};
                check_each_pair_once(problem_of<float>(many), splits);
            }
        }
    }
}

TEST_CASE("the packets of a head are spread evenly over its blocks, and all but the last are whole") {
    constexpr Index w = attend::detail::simd::width<float>, most = SequencePlan<float>::most_lanes;
    for (const Index queries : {most + 1, 3 * most + 5, 4 * most, 4 * most + w, 1000 * w - 1}) {
        for (const Index team : {1, 3}) {
            CAPTURE(queries, team);
            const SequencePlan<float> plan(1, queries, 100, true);
            Index least = most, largest = 0, rows = 0, parts = 0;
            for (const LaneBlock& task : blocks_of(problem_of<float>({.queries = queries, .keys = 100}), true, team)) {
                plan.for_each_part(task, 1, [&](const LaneBlock& block) {
                    const Index packets = (block.rows + w - 1) / w;
                    least = std::min(least, packets), largest = std::max(largest, packets);
                    rows += block.rows, ++parts;
                    CHECK(block.row % w == 0);
                    CHECK((block.rows % w == 0 || block.row + block.rows == queries));
                    CHECK(block.rows <= plan.rows);
                });
                Index together = 0;
                plan.for_each_part(task, team, [&](const LaneBlock& blocks) {
                    CHECK(blocks.row == task.row);
                    together += blocks.rows;
                });
                CHECK(together == task.rows);
            }
            CHECK(largest - least <= 1);
            CHECK(rows == queries);
            CHECK(parts == plan.blocks);
            CHECK(parts == (queries + most - 1) / most);
        }
    }
}

TEST_CASE("few queries of many heads share their keys in as many blocks as they fill") {
    const auto blocks = blocks_of(problem_of<float>({.heads = 128, .kv_heads = 1, .queries = 1, .keys = 100}), true);
    CHECK(std::ssize(blocks) == 128 / SequencePlan<float>::most_lanes);
    for (const LaneBlock& b : blocks) CHECK(b.heads == SequencePlan<float>::most_lanes);
}

TEST_CASE("the chunks of a split row hold every key once, and follow each other") {
    for (const Index keys : {1023, 1024, 1025, 5000}) {
        const Problem<float> problem = problem_of<float>({.heads = 4, .kv_heads = 2, .queries = 2, .keys = keys});
        check_each_pair_once(problem, true);
        check_each_pair_once(problem, false);
        Index chunks = 0;
        for (const LaneBlock& b : blocks_of(problem, true)) {
            CHECK(b.chunks == (keys + 1023) / 1024);
            chunks += b.head == 0 ? 1 : 0;
            CHECK(b.key_begin == 1024 * b.chunk);
        }
        CHECK(chunks == (keys + 1023) / 1024);
    }
}

TEST_CASE("a sequence is cut in the same way whatever else the batch holds") {
    const std::vector<Index> query_offsets{0, 3, 3, 140, 141}, key_offsets{0, 50, 120, 180, 2300};
    const Problem<float> batch = problem_of<float>({.heads = 4, .kv_heads = 2, .queries = 141, .keys = 2300},
                                                   SequencesRef(std::span<const Index>(query_offsets)),
                                                   SequencesRef(std::span<const Index>(key_offsets)));
    for (const bool splits : {false, true}) {
        check_each_pair_once(batch, splits);
        const std::vector<LaneBlock> all = blocks_of(batch, splits);
        std::size_t next = 0;
        for (Index s = 0; s < 4; ++s) {
            CAPTURE(s, splits);
            const Shape shape{.heads = 4, .kv_heads = 2, .queries = batch.queries(s), .keys = batch.keys(s)};
            for (const LaneBlock& alone : blocks_of(problem_of<float>(shape), splits)) {
                REQUIRE(next < all.size());
                const LaneBlock& b = all[next++];
                CHECK(b.sequence == s);
                CHECK((b.kv_head == alone.kv_head && b.head == alone.head && b.heads == alone.heads));
                CHECK((b.row == alone.row && b.rows == alone.rows));
                CHECK((b.key_begin == alone.key_begin && b.key_end == alone.key_end));
                CHECK((b.chunk == alone.chunk && b.chunks == alone.chunks));
            }
        }
        CHECK(next == all.size());
    }
}

TEST_CASE("a task of a ragged batch is looked for from the cursor on, not from the beginning") {
    const std::vector<Index> offsets{0, 3, 6, 9, 12};
    const SequencesRef all{std::span<const Index>(offsets)};
    const Problem<float> problem = problem_of<float>({.queries = 12, .keys = 12}, all, all);
    const Plan<float, float> plan(problem, false);
    // A cursor that says something else of the sequences before than they hold shows that it is believed.
    PlanCursor cursor{.sequence = 2, .tasks = 0, .partials = 0};
    CHECK(plan.block(0, cursor).sequence == 2);
    CHECK(cursor.sequence == 2);
    CHECK(plan.block(1, cursor).sequence == 3);
    CHECK((cursor.sequence == 3 && cursor.tasks == 1));
}

}  // namespace test_plan

#pragma once
/// \file
/// The fused forward kernel of a whole call: its tasks and its workspace. Memory does not depend on the number of keys,
/// except with normalizers that need a row whole.

#include <atomic>
#include <optional>

#include <attend/kernel/block_forward.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The workspace of a call: scratch for each worker, then what is left of each chunk of keys. From the shape alone, so
/// that the need is known before the call.
template <class T>
class Layout {
public:
    Layout(const Needs& needs, const Shape& shape, Index workers) : shape_(shape), needs_(needs) {
        const SequencePlan<T> plan(shape.group(), shape.queries, shape.keys, needs.merges);
        const bool may_differ = shape.sequences > 1;  // sequences of a ragged batch have plans of their own
        lanes_ = may_differ ? plan.most_lanes : plan.lanes;
        chunks_ = may_differ ? SequencePlan<T>(1, 1, shape.keys, needs.merges).chunks : plan.chunks;
        // The heads of a group are cut into the more blocks the more queries these have, as long as they are few.
        head_blocks_ = SequencePlan<T>(shape.group(), std::min(shape.queries, plan.most_lanes), 0, false).blocks;
        const Index tasks = shape.sequences * shape.heads * std::max(plan.blocks, chunks_);
        workers_ = std::clamp<Index>(tasks, 1, workers);
        if (may_differ || (!plan.heads_together && plan.blocks > 1)) {
            packing_ = needs.packing;
            const Index blocks = shape.sequences * shape.heads * plan.blocks;
            const Index share = workers == 1 ? blocks : blocks / (tasks_of_worker * workers);
            team_ = std::clamp<Index>(share, 1, may_differ ? needs.most_team : std::min(needs.most_team, plan.blocks));
        }
        Arena worker, partial;
        worker.take<PlanCursor>(1);
        const Scratch<T> first = scratch(worker);
        for (Index i = 1; i < team_; ++i) scratch(worker, &first);
        scratch_bytes_ = worker.used();
        if (chunks_ > 1) Partial<T>(partial, needs.state_members, shape, lanes_);
        partial_bytes_ = partial.used();
    }

    const Needs& needs() const { return needs_; }
    /// Blocks of a team at most.
    Index team() const { return team_; }
    std::size_t bytes() const { return before_partials() + static_cast<std::size_t>(partials()) * partial_bytes_; }
    /// The memory of the keys' features.
    std::byte* keys(std::byte* memory) const { return memory + static_cast<std::size_t>(workers_) * scratch_bytes_; }
    /// Where a worker stands in the plan; all at its start after `start`.
    PlanCursor& cursor(std::byte* memory, Index worker) const {
        return *Arena(memory + static_cast<std::size_t>(worker) * scratch_bytes_).take<PlanCursor>(1);
    }
    void start(std::byte* memory) const {
        for (Index worker = 0; worker < workers_; ++worker) cursor(memory, worker) = {};
    }
    /// The memory of a worker's scratch.
    Arena arena(std::byte* memory, Index worker) const {
        Arena arena(memory + static_cast<std::size_t>(worker) * scratch_bytes_);
        arena.take<PlanCursor>(1);
        return arena;
    }
    /// The scratch of a team's first block, or of one beside `first`.
    Scratch<T> scratch(Arena& arena, const Scratch<T>* first = nullptr) const {
        return first == nullptr ? Scratch<T>(arena, needs_, shape_, lanes_, packing_)
                                : Scratch<T>(arena, *first, needs_, shape_, lanes_);
    }
    Partial<T> partial(std::byte* memory, Index which) const {
        Arena arena(memory + before_partials() + static_cast<std::size_t>(which) * partial_bytes_);
        return Partial<T>(arena, needs_.state_members, shape_, lanes_);
    }

private:
    /// So many, that all workers end at about the same time.
    static constexpr Index tasks_of_worker = 4;

    std::size_t before_partials() const {
        return static_cast<std::size_t>(workers_) * scratch_bytes_ + needs_.key_bytes;
    }
    /// What is left of chunks at most: a sequence with several has fewer than two for each `chunk_keys` of its keys.
    Index partials() const {
        if (chunks_ == 1) return 0;
        const Index chunks = quotient(2 * shape_.all_keys(), SequencePlan<T>::chunk_keys);
        return shape_.kv_heads * head_blocks_ * std::min(shape_.sequences * chunks_, chunks);
    }

    const Shape& shape_;  // a copy would wait for what has just been written
    const Needs& needs_;
    Index workers_ = 1, lanes_ = 0, chunks_ = 1, head_blocks_ = 1;
    Index team_ = 1;
    PackedMemory packing_;
    std::size_t scratch_bytes_ = 0, partial_bytes_ = 0;
};

/// Into so many parts the rows of a head are cut, at most, for those who look at its weights.
inline constexpr Index parts_of_head = 4;

/// How a call is told to reductions of its weights.
template <class T, class X>
WeightsShape weights_shape(const Problem<X>& problem, bool merges) {
    const Shape& shape = problem.shape;
    const SequencePlan<T> plan(shape.group(), shape.queries, shape.keys, merges);
    return {
        .sequences = shape.sequences,
        .heads = shape.heads,
        .kv_heads = shape.kv_heads,
        .rows = problem.q.sequences * problem.q.rows,
        .keys = shape.keys,
        .parts = plan.heads_together ? 1 : std::min(parts_of_head, plan.blocks),
        .call = &problem,
        .extent_of = [](const void* given, Index s) {
            const auto& call = *static_cast<const Problem<X>*>(given);
            return WeightsShape::Extent{call.batch(s) * call.q.rows + call.first_row(s), call.queries(s), call.keys(s)};
        }};
}

/// Output, sum and maximum of a team's blocks, into their scratch. `for_each` calls a function with each of them.
template <class T, class Keys, class ForEach>
void go_through_keys(const LaneBlock& all, const Keys& keys, bool wants_lse, ForEach&& for_each) {
    for_each([](auto& block) { block.start(); });
    walk<T>(keys, all.key_begin, all.key_end, for_each,
            [&](auto& block, KeyTile<T>& tile, Cover cover) { block.take(tile, cover, wants_lse); });
    for_each([](auto& block) { block.end(); });
}

/// Blocks of one head that go through the keys together.
template <class T, class A, class X, class Source>
class TeamForward {
public:
    TeamForward(const A& attention, const Problem<X>& problem, const Source& source, const LaneBlock& all,
                const SequencePlan<T>& plan, const Layout<T>& layout, Arena& arena, ReadAhead& ahead)
        : all_(all) {
        plan.for_each_part(all, 1, [&](const LaneBlock& rows) {
            const Scratch<T>* const first = count_ == 0 ? nullptr : &members_[0]->scratch;
            members_[count_++].emplace(attention, problem, source, rows, layout, arena, first, ahead);
        });
    }

    void run(bool wants_lse) {
        [[maybe_unused]] const auto session = members_[0]->block.engine().session();
        go_through_keys<T>(all_, members_[0]->block.output().keys, wants_lse, [&](auto&& f) { for_each(f); });
    }

    template <class F>
    void for_each(F&& f) {
        for (Index i = 0; i < count_; ++i) f(members_[i]->block);
    }

private:
    struct Member {
        LaneBlock rows;
        Scratch<T> scratch;
        BlockForward<T, A, X, Source> block;

        Member(const A& attention, const Problem<X>& problem, const Source& source, const LaneBlock& rows_,
               const Layout<T>& layout, Arena& arena, const Scratch<T>* first, ReadAhead& ahead)
            : rows(rows_),
              scratch(layout.scratch(arena, first)),
              block(attention, problem, source, rows, layout.needs().width, scratch, ahead) {}
    };

    const LaneBlock& all_;
    std::optional<Member> members_[most_team<T, A, X, ForwardEngine<T, A, X, Source>>];
    Index count_ = 0;
};

/// One call: out = weights · v for every head, by blocks of queries.
template <class T, class A, class X, class Source>
class Forward {
public:
    Forward(const A& attention, const Problem<X>& problem, const Source& source, const Layout<T>& layout,
            const Results<T, X>& results, std::byte* memory, const ExecutorRef& executor)
        : attention_(attention),
          problem_(problem),
          source_(source),
          layout_(layout),
          results_(results),
          memory_(memory),
          executor_(executor),
          plan_(problem, layout.needs().merges, layout.team(), results.insight ? parts_of_head : 0) {}

    void run() {
        layout_.start(memory_);
        executor_.for_each(plan_.tasks(), [this](Index task, Index worker) { take(task, worker); });
        if (!any_chunks_) return;
        // The chunks of a block merge in order, whoever computed them.
        layout_.start(memory_);
        executor_.for_each(plan_.tasks(), [this](Index task, Index worker) { merge(task, worker); });
    }

private:
    using Block = BlockForward<T, A, X, Source>;

    /// The blocks of one task over its keys. Where there are more of them than a team has, as where somebody looks at
    /// the weights of a part of a head, one team after the other.
    void take(Index task, Index worker) {
        const PlanCursor& cursor = layout_.cursor(memory_, worker);
        const LaneBlock all = plan_.block(task, layout_.cursor(memory_, worker));
        if (!results_.insight) return take(all, task, worker, cursor);
        plan_.of(all.sequence).for_each_part(all, layout_.team(), [&](const LaneBlock& part) {
            take(part, task, worker, cursor);
        });
    }
    void take(const LaneBlock& all, Index task, Index worker, const PlanCursor& cursor) {
        const bool wants_lse = results_.lse.data != nullptr;
        Arena arena = layout_.arena(memory_, worker);
        ReadAhead ahead(is_far());
        if constexpr (most_team<T, A, X, ForwardEngine<T, A, X, Source>> > 1) {
            if (layout_.team() > 1 && all.packs) {
                TeamForward<T, A, X, Source> team(attention_, problem_, source_, all, plan_.of(all.sequence), layout_,
                                                  arena, ahead);
                bool is_first = true;
                team.for_each([&](auto& block) {
                    if (is_first) expect_next(task, cursor, block);
                    is_first = false;
                    block.output().expect_output(results_.out);
                });
                team.run(wants_lse);
                return team.for_each([&](auto& block) { finish(block); });
            }
        }
        const Scratch<T> scratch = layout_.scratch(arena);
        Block block(attention_, problem_, source_, all, layout_.needs().width, scratch, ahead);
        if constexpr (!Block::by_lists) expect_next(task, cursor, block);
        if (all.chunks == 1) block.output().expect_output(results_.out);
        [[maybe_unused]] const auto session = block.engine().session();
        if constexpr (Block::by_lists) {
            block.start();
            block.take_listed();
        } else {
            go_through_keys<T>(all, block.output().keys, wants_lse, [&](auto&& f) { f(block); });
        }
        if (all.chunks == 1) {
            finish(block);
        } else {
            block.output().store(layout_.partial(memory_, all.partial + all.chunk));
            any_chunks_ = true;
        }
    }
    /// Of the first chunk of a block: takes in the others.
    void merge(Index task, Index worker) {
        const LaneBlock all = plan_.block(task, layout_.cursor(memory_, worker));
        if (all.chunks == 1 || all.chunk > 0) return;
        Arena arena = layout_.arena(memory_, worker);
        const Scratch<T> scratch = layout_.scratch(arena);
        ReadAhead ahead(is_far());
        Block block(attention_, problem_, source_, all, layout_.needs().width, scratch, ahead);
        block.output().load(layout_.partial(memory_, all.partial));
        for (Index chunk = 1; chunk < all.chunks; ++chunk) block.merge(layout_.partial(memory_, all.partial + chunk));
        if (results_.weights.wanted() || results_.insight) block.load_queries();
        finish(block);
    }
    void finish(Block& block) { block.finish(results_); }
    /// Whether the call's operands and output are so much that it pays to ask for them.
    bool is_far() const {
        const Shape& n = problem_.shape;
        return (problem_.q.sequences * problem_.q.rows * n.heads + n.all_keys() * n.kv_heads) * (n.d_k + n.d_v) >
               near_bytes / Index(sizeof(X));
    }
    /// Asks for what the task that this worker is likely to take next begins with.
    void expect_next(Index task, const PlanCursor& cursor, Block& block) const {
        const Index next = task + executor_.concurrency();
        if (next >= plan_.tasks()) return;
        PlanCursor ahead_of = cursor;
        block.output().expect(plan_.block(next, ahead_of), source_);
    }

    const A& attention_;
    const Problem<X>& problem_;
    const Source& source_;
    const Layout<T>& layout_;
    const Results<T, X>& results_;
    std::byte* memory_;
    const ExecutorRef& executor_;
    Plan<T, X> plan_;
    std::atomic<bool> any_chunks_ = false;
};

}  // namespace attend::detail::fused

#pragma once
/// \file
/// The fused forward kernel of a whole call: its tasks and its workspace. Memory does not depend on the number of keys,
/// except with normalizers that need a row whole.

#include <atomic>
#include <optional>

#include <attend/kernel/block_forward.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The scalars that the fused kernel computes in; the reference computes in any.
template <class T>
concept Supported = std::is_same_v<T, float> || std::is_same_v<T, double>;

/// How many blocks of a head go through the keys together at most: as many as it takes for what a tile of keys costs,
/// to be split above all, to be little beside the products.
template <class T, class A>
inline constexpr Index most_team = may_go_by_parts<T, A> && OnlineNormalizer<typename A::NormalizerFunctor> ? 8 : 1;

/// The workspace of a call: scratch for each worker, then what is left of each chunk of keys. From the shape alone, so
/// that the need is known before the call.
template <class T, class A, class X>
class Layout {
public:
    static constexpr bool splits = OnlineNormalizer<typename A::NormalizerFunctor>;

    Layout(const A& attention, const Shape& shape, Index workers)
        : shape_(shape), width_(features_of(attention.score(), shape)) {
        const SequencePlan<T> plan(shape.group(), shape.queries, shape.keys, splits);
        const bool may_differ = shape.sequences > 1;  // sequences of a ragged batch have plans of their own
        lanes_ = may_differ ? plan.most_lanes : plan.lanes;
        chunks_ = may_differ ? SequencePlan<T>(1, 1, shape.keys, splits).chunks : plan.chunks;
        const Index tasks = shape.sequences * std::max(shape.heads * plan.blocks, shape.kv_heads * chunks_);
        workers_ = std::clamp<Index>(tasks, 1, workers);
        parts_ =
            may_go_by_parts<T, A> && (may_differ || plan.blocks > 1) && Products<T>::go_by_parts(width_, shape.d_v);
        if (parts_) {
            const Index blocks = shape.sequences * shape.heads * plan.blocks;
            const Index share = workers == 1 ? blocks : blocks / (tasks_of_worker * workers);
            team_ = std::clamp<Index>(share, 1, std::min(most_team<T, A>, may_differ ? most_team<T, A> : plan.blocks));
        }
        Arena worker, partial;
        worker.take<PlanCursor>(1);
        const Scratch<T> first = scratch(worker);
        for (Index i = 1; i < team_; ++i) scratch(worker, &first);
        scratch_bytes_ = worker.used();
        if (chunks_ > 1) Partial<T>(partial, shape, lanes_);
        partial_bytes_ = partial.used();
        key_bytes_ = KeyFeatures<T, A, X>::bytes(shape, width_);
    }

    Index width() const { return width_; }
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
        return first == nullptr ? Scratch<T>(arena, shape_, lanes_, width_, whole_rows, exponentials, parts_)
                                : Scratch<T>(arena, *first, shape_, lanes_, width_);
    }
    Partial<T> partial(std::byte* memory, Index which) const {
        Arena arena(memory + before_partials() + static_cast<std::size_t>(which) * partial_bytes_);
        return Partial<T>(arena, shape_, lanes_);
    }

private:
    /// So many, that all workers end at about the same time.
    static constexpr Index tasks_of_worker = 4;
    static constexpr bool whole_rows = RowNormalizer<typename A::NormalizerFunctor>;
    static constexpr bool exponentials = ExponentialScore<typename A::ScoreFunctor, T>;

    std::size_t before_partials() const { return static_cast<std::size_t>(workers_) * scratch_bytes_ + key_bytes_; }
    /// What is left of chunks at most: a sequence with several has fewer than two for each `chunk_keys` of its keys.
    Index partials() const {
        if (chunks_ == 1) return 0;
        const Index chunks = quotient(2 * shape_.all_keys(), SequencePlan<T>::chunk_keys);
        return shape_.kv_heads * std::min(shape_.sequences * chunks_, chunks);
    }

    const Shape& shape_;  // a copy would wait for what has just been written
    Index width_, workers_ = 1, lanes_ = 0, chunks_ = 1;
    Index team_ = 1;
    bool parts_ = false;
    std::size_t scratch_bytes_ = 0, partial_bytes_ = 0, key_bytes_ = 0;
};

/// Output, sum and maximum of a team's blocks, into their scratch. `for_each` calls a function with each of them.
template <class T, class ForEach>
void go_through_keys(const LaneBlock& all, bool by_parts, bool wants_lse, ForEach&& for_each) {
    const amx::Tiles tiles(by_parts);
    for_each([](auto& block) { block.start(); });
    for (Index begin = all.key_begin; begin < all.key_end; begin += key_block) {
        KeyTile<T> tile(begin, all.key_end);
        for_each([&](auto& block) { block.take(tile, wants_lse); });
    }
    for_each([](auto& block) { block.end(); });
}

/// Blocks of one head that go through the keys together.
template <class T, class A, class X>
class TeamForward {
public:
    using Key = KeyScalar<T, A, X>;

    /// `rows` of each block, or what is left.
    TeamForward(const A& attention, const Problem<X>& problem, const StridedView<const Key>& keys, const LaneBlock& all,
                Index rows, const Layout<T, A, X>& layout, Arena& arena, ReadAhead& ahead)
        : all_(all) {
        for (Index from = 0; from < all.rows; from += rows) {
            const Scratch<T>* const first = count_ == 0 ? nullptr : &members_[0]->scratch;
            members_[count_++].emplace(attention, problem, keys, all.part(from, rows), layout, arena, first, ahead);
        }
    }

    void run(bool wants_lse) {
        go_through_keys<T>(all_, members_[0]->block.by_parts(), wants_lse, [&](auto&& f) { for_each(f); });
    }

    template <class F>
    void for_each(F&& f) {
        for (Index i = 0; i < count_; ++i) f(members_[i]->block);
    }

private:
    struct Member {
        LaneBlock rows;
        Scratch<T> scratch;
        BlockForward<T, A, X> block;

        Member(const A& attention, const Problem<X>& problem, const StridedView<const Key>& keys,
               const LaneBlock& rows_, const Layout<T, A, X>& layout, Arena& arena, const Scratch<T>* first,
               ReadAhead& ahead)
            : rows(rows_),
              scratch(layout.scratch(arena, first)),
              block(attention, problem, keys, rows, layout.width(), scratch, ahead) {}
    };

    const LaneBlock& all_;
    std::optional<Member> members_[most_team<T, A>];
    Index count_ = 0;
};

/// out = weights · v for every head, by blocks of queries.
template <class T, class A, class X>
void forward(const A& attention, const Problem<X>& problem, const Layout<T, A, X>& layout, const StridedView<X>& out,
             const StridedView<T>& lse, std::byte* memory, const ExecutorRef& executor) {
    using Keys = KeyFeatures<T, A, X>;
    const StridedView<const typename Keys::Scalar> keys =
        Keys::of(attention, problem, layout.width(), layout.keys(memory), executor);
    const Plan<T, X> plan(problem, layout.splits, layout.team());
    std::atomic<bool> any_split = false;
    layout.start(memory);
    executor.for_each(plan.tasks(), [&](Index task, Index worker) {
        PlanCursor& cursor = layout.cursor(memory, worker);
        const LaneBlock all = plan.block(task, cursor);
        const bool wants_lse = lse.data != nullptr;
        Arena arena = layout.arena(memory, worker);
        ReadAhead ahead;
        const auto expect = [&](auto& block) {
            const Index next = task + executor.concurrency();  // which this worker is likely to take next
            if (next >= plan.tasks()) return;
            PlanCursor ahead_of = cursor;
            block.expect(plan.block(next, ahead_of));
        };
        if constexpr (most_team<T, A> > 1) {
            if (layout.team() > 1 && all.by_parts) {
                TeamForward<T, A, X> team(attention, problem, keys, all, plan.of(all.sequence).rows, layout, arena,
                                          ahead);
                bool is_first = true;
                team.for_each([&](auto& block) {
                    if (is_first) expect(block);
                    is_first = false;
                    block.expect_output(out);
                });
                team.run(wants_lse);
                return team.for_each([&](auto& block) { block.finish(out, lse); });
            }
        }
        const Scratch<T> scratch = layout.scratch(arena);
        BlockForward<T, A, X> block(attention, problem, keys, all, layout.width(), scratch, ahead);
        expect(block);
        if (all.chunks == 1) block.expect_output(out);
        go_through_keys<T>(all, block.by_parts(), wants_lse, [&](auto&& f) { f(block); });
        if (all.chunks == 1) {
            block.finish(out, lse);
        } else {
            block.store(layout.partial(memory, all.partial + all.chunk));
            any_split = true;
        }
    });
    if (!any_split) return;
    // The chunks of a block merge in order, whoever computed them.
    layout.start(memory);
    executor.for_each(plan.tasks(), [&](Index task, Index worker) {
        const LaneBlock block = plan.block(task, layout.cursor(memory, worker));
        if (block.chunks == 1 || block.chunk > 0) return;
        Arena arena = layout.arena(memory, worker);
        const Scratch<T> scratch = layout.scratch(arena);
        ReadAhead ahead;
        BlockForward<T, A, X> forward(attention, problem, keys, block, layout.width(), scratch, ahead);
        forward.load(layout.partial(memory, block.partial));
        for (Index chunk = 1; chunk < block.chunks; ++chunk)
            forward.merge(layout.partial(memory, block.partial + chunk));
        forward.finish(out, lse);
    });
}

}  // namespace attend::detail::fused

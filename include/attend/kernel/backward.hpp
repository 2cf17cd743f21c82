#pragma once
/// \file
/// The fused backward kernel of a whole call: its tasks and its workspace, which grows with the keys and queries, never
/// with their product, except with normalizers that need a row whole.

#include <algorithm>
#include <limits>

#include <attend/kernel/block_backward.hpp>
#include <attend/kernel/forward.hpp>
#include <attend/parts/key_gradients.hpp>
#include <attend/parts/parameter_sums.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// How the queries that share a key/value head are cut into chunks, each of which adds up key gradients of its own, so
/// that threads can share a head. By the shape of a sequence alone, never by the number of threads.
template <class T>
struct BackwardPlan {
    static constexpr Index tasks = 8;  ///< wanted of a sequence

    SequencePlan<T> sequence;
    Index blocks = 1;  ///< of the queries of a kv head
    Index chunks = 1;  ///< into which those are cut

    BackwardPlan(const Shape& shape, Index queries, Index keys) : sequence(shape.group(), queries, keys, false) {
        blocks = (sequence.heads_together ? 1 : shape.group()) * sequence.blocks;
        chunks = std::clamp<Index>((tasks + shape.kv_heads - 1) / shape.kv_heads, 1, blocks);
    }
};

/// The workspace of a call: scratch for each worker, then the key gradients of each task that is under way.
template <class T>
class BackwardLayout {
public:
    BackwardLayout(const Needs& needs, const Shape& shape, Index workers) : shape_(shape), needs_(needs) {
        const BackwardPlan<T> plan(shape, shape.queries, shape.keys);
        lanes_ = shape.sequences > 1 ? plan.sequence.most_lanes : plan.sequence.lanes;  // ragged ones have plans each
        chunks_ = plan.chunks;
        if (shape.sequences > 1 || plan.sequence.blocks > 1) packing_ = needs.packing;
        const Index heads = shape.sequences * shape.kv_heads;
        workers_ = std::clamp<Index>(heads * chunks_, 1, workers);
        heads_at_once_ = chunks_ == 1 ? heads : std::min(heads, (2 * workers + chunks_ - 1) / chunks_);
        Arena scratch, slot;
        take_scratch(scratch);
        take_slot(slot);
        scratch_bytes_ = scratch.used();
        slot_bytes_ = slot.used();
    }

    Index width() const { return needs_.width; }
    Index chunks() const { return chunks_; }
    /// Heads whose chunks are under way together; of heads that are not cut, all are.
    Index heads_at_once() const { return heads_at_once_; }
    std::size_t bytes() const {
        const Index slots = chunks_ == 1 ? workers_ : heads_at_once_ * chunks_;
        return static_cast<std::size_t>(workers_) * scratch_bytes_ + static_cast<std::size_t>(slots) * slot_bytes_ +
               needs_.key_bytes;
    }
    /// The memory of the keys' features.
    std::byte* keys(std::byte* memory) const { return memory + (bytes() - needs_.key_bytes); }
    BackwardScratch<T> scratch(std::byte* memory, Index worker) const {
        Arena arena(memory + static_cast<std::size_t>(worker) * scratch_bytes_);
        return take_scratch(arena);
    }
    KeyGradients<T> slot(std::byte* memory, Index which) const {
        Arena arena(memory + static_cast<std::size_t>(workers_) * scratch_bytes_ +
                    static_cast<std::size_t>(which) * slot_bytes_);
        return take_slot(arena);
    }

private:
    BackwardScratch<T> take_scratch(Arena& arena) const {
        return BackwardScratch<T>(arena, shape_, lanes_, needs_, packing_);
    }
    KeyGradients<T> take_slot(Arena& arena) const { return KeyGradients<T>(arena, shape_.keys, width(), shape_.d_v); }

    const Shape& shape_;
    const Needs& needs_;
    Index workers_ = 1, lanes_ = 0, chunks_ = 1, heads_at_once_ = 1;
    PackedMemory packing_;
    std::size_t scratch_bytes_ = 0, slot_bytes_ = 0;
};

/// The chunks and tiles of a call, as far as they do not depend on the attention.
template <class T, class X>
class BackwardTasks {
public:
    BackwardTasks(const Problem<X>& problem, const BackwardLayout<T>& layout, std::byte* memory)
        : problem_(problem), layout_(layout), memory_(memory) {}

    /// Calls `add_chunk(head, chunk, slot, worker, group)` for every chunk of every head, and when all of a head are
    /// done `finish_tile(head, tile, first_slot, group)` for its tiles of keys: those of a group one after the other.
    /// There are `groups` for the chunks, and where a head has several chunks as many more for the tiles.
    template <class AddChunk, class FinishTile>
    void run(const ExecutorRef& executor, Index groups, AddChunk&& add_chunk, FinishTile&& finish_tile) const {
        const Index heads = problem_.shape.sequences * problem_.shape.kv_heads, chunks = layout_.chunks();
        if (chunks == 1) {
            for_each(executor, 0, heads, groups, [&](Index head, Index worker, Index group) {
                add_chunk(head, 0, worker, worker, group);
                for (Index tile = 0; tile < tiles(head); ++tile) finish_tile(head, tile, worker, group);
            });
            return;
        }
        const Index most_tiles = KeyGradients<T>::tiles(problem_.shape.keys);
        for (Index first = 0; first < heads; first += layout_.heads_at_once()) {
            const Index end = std::min(first + layout_.heads_at_once(), heads);
            // The last chunk first: under a causal mask it is the longest.
            for_each(executor, first * chunks, end * chunks, groups, [&](Index task, Index worker, Index group) {
                const Index head = task / chunks, chunk = chunks - 1 - task % chunks;
                add_chunk(head, chunk, (head - first) * chunks + chunk, worker, group);
            });
            for_each(executor, first * most_tiles, end * most_tiles, groups, [&](Index task, Index, Index group) {
                const Index head = task / most_tiles, tile = task % most_tiles;
                if (tile < tiles(head)) finish_tile(head, tile, (head - first) * chunks, group);
            });
        }
    }
    /// So many groups serve tasks that share nothing.
    static constexpr Index all_apart = std::numeric_limits<Index>::max() / 2;

    Index sequence(Index head) const { return head / problem_.shape.kv_heads; }
    Index kv_head(Index head) const { return head % problem_.shape.kv_heads; }
    Index tiles(Index head) const { return KeyGradients<T>::tiles(problem_.keys(sequence(head))); }
    Index tile_keys(Index head, Index tile) const {
        return std::min(key_block, problem_.keys(sequence(head)) - tile * key_block);
    }
    BackwardPlan<T> plan(Index head) const {
        const Index s = sequence(head);
        return BackwardPlan<T>(problem_.shape, problem_.queries(s), problem_.keys(s));
    }
    LaneBlock lane_block(const SequencePlan<T>& plan, Index head, Index which) const {
        const Index group = problem_.shape.group(), s = sequence(head), kv = kv_head(head),
                    queries = problem_.queries(s);
        LaneBlock block{.sequence = s,
                        .kv_head = kv,
                        .head = kv * group,
                        .key_end = problem_.keys(s),
                        .packs = !plan.heads_together && plan.blocks > 1};
        if (plan.heads_together) {
            block.head += which * plan.heads;
            block.heads = std::min(plan.heads, group - which * plan.heads);
            block.rows = queries;
        } else {
            block.head += which / plan.blocks;
            block.row = plan.begin(which % plan.blocks);
            block.rows = plan.begin(which % plan.blocks + 1) - block.row;
        }
        return block;
    }

    /// Adds the chunks' sums of one tile of keys, in order, into the first that has any; returns whether one has.
    ATTEND_NOINLINE bool add_up(Index tile, Index count, Index first_slot, KeyGradients<T>& sums) const {
        const Index chunks = layout_.chunks();
        Index base = 0;
        while (base < chunks && !layout_.slot(memory_, first_slot + base).touched[tile]) ++base;
        if (base == chunks) return false;
        sums = layout_.slot(memory_, first_slot + base);
        for (Index chunk = base + 1; chunk < chunks; ++chunk) {
            const KeyGradients<T> more = layout_.slot(memory_, first_slot + chunk);
            if (more.touched[tile]) sums.add(more, tile, count);
        }
        return true;
    }

private:
    /// Calls `f(task, worker, group)` for tasks from `begin` on: of each group one after the other, whatever `begin`
    /// is.
    template <class F>
    static void for_each(const ExecutorRef& executor, Index begin, Index end, Index groups, F&& f) {
        executor.for_each(std::min(groups, end - begin), [&](Index i, Index worker) {
            const Index group = (begin + i) % groups;
            for (Index task = begin + i; task < end; task += groups) f(task, worker, group);
        });
    }

    const Problem<X>& problem_;
    const BackwardLayout<T>& layout_;
    std::byte* memory_;
};

/// One call.
template <class T, class A, class X, class Source, class KeysInto>
class Backward {
public:
    Backward(const A& attention, const Problem<X>& problem, const Source& source, const Gradients<T, X>& gradients,
             const KeysInto& keys_into, const BackwardLayout<T>& layout, std::byte* memory, const ExecutorRef& executor)
        : attention_(attention),
          problem_(problem),
          source_(source),
          gradients_(gradients),
          keys_into_(keys_into),
          layout_(layout),
          memory_(memory),
          executor_(executor),
          tasks_(problem, layout, memory) {}

    /// Adds the gradients of the parameters to `gradient`, which may be none. What the threads' sums of these take
    /// stays in `workspace`, if there is one.
    void run(A* gradient, Workspace* workspace) {
        const Index groups = gradient == nullptr ? 0 : parameter_groups(*gradient, problem_.shape, layout_.width());
        if (groups == 0)
            return run_tasks(BackwardTasks<T, X>::all_apart, [](Index) { return ParameterGradients<A>(); });
        if constexpr (has_copies<A>) {
            // Chunks and tiles take turns as often as there is memory for: that must not show in the sums.
            tiles_group_ = KeysInto::maps && layout_.chunks() > 1 ? groups : 0;
            ParameterSums<A> sums(*gradient, tiles_group_ + groups, workspace);
            if (sums.start(executor_)) {
                run_tasks(groups, [&](Index group) { return sums.of(group); });
                return sums.add_up();
            }
            tiles_group_ = 0;
        }
        // One task after the other.
        run_tasks(1, [&](Index) { return ParameterGradients<A>(*gradient); });
    }

private:
    template <class GradientsOf>
    void run_tasks(Index groups, const GradientsOf& gradients_of) {
        tasks_.run(
            executor_, groups,
            [&](Index head, Index chunk, Index slot, Index worker, Index group) {
                add_chunk(head, chunk, slot, worker, gradients_of(group));
            },
            [&](Index head, Index tile, Index first_slot, Index group) {
                finish_tile(head, tile, first_slot, gradients_of(tiles_group_ + group));
            });
    }
    /// All blocks of one chunk, their key gradients into `slot`.
    void add_chunk(Index head, Index chunk, Index slot, Index worker, const ParameterGradients<A>& parameters) {
        const Index s = tasks_.sequence(head), queries = problem_.queries(s), keys = problem_.keys(s);
        const BackwardPlan<T> plan = tasks_.plan(head);
        KeyGradients<T> sums = layout_.slot(memory_, slot);
        sums.clear(keys);
        if (chunk >= plan.chunks || queries == 0 || keys == 0) return;
        const BackwardScratch<T> scratch = layout_.scratch(memory_, worker);
        const Index begin = plan.blocks * chunk / plan.chunks, end = plan.blocks * (chunk + 1) / plan.chunks;
        for (Index which = begin; which < end; ++which) {
            const LaneBlock block = tasks_.lane_block(plan.sequence, head, which);
            BlockBackward<T, A, X, Source>(attention_, problem_, source_, gradients_, parameters, block,
                                           layout_.width(), scratch, sums)
                .run();
        }
    }

    /// Adds up one tile of keys, and from the features' gradients makes those of the keys.
    void finish_tile(Index head, Index tile, Index first_slot, const ParameterGradients<A>& parameters) {
        const Index count = tasks_.tile_keys(head, tile);
        KeyGradients<T> sums = layout_.slot(memory_, first_slot);
        if (!tasks_.add_up(tile, count, first_slot, sums)) return;
        const Index begin = tile * key_block;
        keys_into_.add(tasks_.sequence(head), tasks_.kv_head(head), begin,
                       RowBlock<T>{sums.dk + begin * sums.dk_stride, sums.dk_stride, count, layout_.width()},
                       RowBlock<T>{sums.dv + begin * sums.dv_stride, sums.dv_stride, count, problem_.shape.d_v},
                       parameters);
    }

    const A& attention_;
    const Problem<X>& problem_;
    const Source& source_;
    const Gradients<T, X>& gradients_;
    const KeysInto& keys_into_;
    const BackwardLayout<T>& layout_;
    std::byte* memory_;
    const ExecutorRef& executor_;
    BackwardTasks<T, X> tasks_;
    Index tiles_group_ = 0;  ///< the first that tiles of keys add parameters' gradients to
};

}  // namespace attend::detail::fused

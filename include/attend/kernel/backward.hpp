#pragma once
/// \file
/// The fused backward kernel of a whole call: its tasks and its workspace, which grows with the keys and queries, never
/// with their product, except with normalizers that need a row whole.

#include <algorithm>

#include <attend/kernel/block_backward.hpp>
#include <attend/kernel/forward.hpp>

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
        blocks = sequence.heads_together ? 1 : shape.group() * sequence.blocks;
        chunks = std::clamp<Index>((tasks + shape.kv_heads - 1) / shape.kv_heads, 1, blocks);
    }
};

/// The workspace of a call: scratch for each worker, then the key gradients of each task that is under way.
template <class T, class A, class X>
class BackwardLayout {
public:
    BackwardLayout(const A& attention, const Shape& shape, Index workers)
        : shape_(shape), width_(features_of(attention.score(), shape)) {
        const BackwardPlan<T> plan(shape, shape.queries, shape.keys);
        lanes_ = shape.sequences > 1 ? plan.sequence.most_lanes : plan.sequence.lanes;  // ragged ones have plans each
        chunks_ = plan.chunks;
        parts_ = may_go_by_parts<T, A> && (shape.sequences > 1 || plan.sequence.blocks > 1) &&
                 Products<T>::go_by_parts(width_, shape.d_v);
        const Index heads = shape.sequences * shape.kv_heads;
        workers_ = std::clamp<Index>(heads * chunks_, 1, workers);
        heads_at_once_ = chunks_ == 1 ? heads : std::min(heads, (2 * workers + chunks_ - 1) / chunks_);
        Arena scratch, slot;
        take_scratch(scratch);
        take_slot(slot);
        scratch_bytes_ = scratch.used();
        slot_bytes_ = slot.used();
        key_bytes_ = KeyFeatures<T, A, X>::bytes(shape, width_);
    }

    Index width() const { return width_; }
    Index chunks() const { return chunks_; }
    /// Heads whose chunks are under way together; of heads that are not cut, all are.
    Index heads_at_once() const { return heads_at_once_; }
    std::size_t bytes() const {
        const Index slots = chunks_ == 1 ? workers_ : heads_at_once_ * chunks_;
        return static_cast<std::size_t>(workers_) * scratch_bytes_ + static_cast<std::size_t>(slots) * slot_bytes_ +
               key_bytes_;
    }
    /// The memory of the keys' features.
    std::byte* keys(std::byte* memory) const { return memory + (bytes() - key_bytes_); }
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
    using Block = BlockScoreGradients<T, A, X>;

    BackwardScratch<T> take_scratch(Arena& arena) const {
        return BackwardScratch<T>(arena, shape_, lanes_, width_, Block::whole_rows, A::ModifierChain::count > 0,
                                  static_cast<Index>(tile_modifiers<decltype(A::modifiers.each), T>()),
                                  ExponentialScore<typename A::ScoreFunctor, T>, parts_);
    }
    KeyGradients<T> take_slot(Arena& arena) const { return KeyGradients<T>(arena, shape_.keys, width_, shape_.d_v); }

    Shape shape_;
    Index width_, workers_ = 1, lanes_ = 0, chunks_ = 1, heads_at_once_ = 1;
    bool parts_ = false;
    std::size_t scratch_bytes_ = 0, slot_bytes_ = 0, key_bytes_ = 0;
};

/// One call.
template <class T, class A, class X>
class Backward {
public:
    Backward(const A& attention, const Problem<X>& problem, const Gradients<T, A, X>& gradients,
             const BackwardLayout<T, A, X>& layout, std::byte* memory, const ExecutorRef& executor)
        : attention_(attention),
          problem_(problem),
          gradients_(gradients),
          layout_(layout),
          memory_(memory),
          executor_(executor) {}

    void run() {
        const Index heads = problem_.shape.sequences * problem_.shape.kv_heads, chunks = layout_.chunks();
        if (chunks == 1) {
            executor_.for_each(heads, [&](Index head, Index worker) {
                add_chunk(head, 0, worker, worker);
                for (Index tile = 0; tile < tiles(head); ++tile) finish_tile(head, tile, worker);
            });
            return;
        }
        for (Index first = 0; first < heads; first += layout_.heads_at_once()) {
            const Index count = std::min(layout_.heads_at_once(), heads - first);
            // The last chunk first: under a causal mask it is the longest.
            executor_.for_each(count * chunks, [&](Index task, Index worker) {
                const Index chunk = chunks - 1 - task % chunks;
                add_chunk(first + task / chunks, chunk, task / chunks * chunks + chunk, worker);
            });
            const Index most_tiles = KeyGradients<T>::tiles(problem_.shape.keys);
            executor_.for_each(count * most_tiles, [&](Index task, Index) {
                const Index head = task / most_tiles, tile = task % most_tiles;
                if (tile < tiles(first + head)) finish_tile(first + head, tile, head * chunks);
            });
        }
    }

private:
    Index sequence(Index head) const { return head / problem_.shape.kv_heads; }
    Index kv_head(Index head) const { return head % problem_.shape.kv_heads; }
    Index tiles(Index head) const { return KeyGradients<T>::tiles(problem_.keys(sequence(head))); }

    /// All blocks of one chunk, their key gradients into `slot`.
    void add_chunk(Index head, Index chunk, Index slot, Index worker) {
        const Index s = sequence(head), queries = problem_.queries(s), keys = problem_.keys(s);
        const BackwardPlan<T> plan(problem_.shape, queries, keys);
        KeyGradients<T> sums = layout_.slot(memory_, slot);
        sums.clear(keys);
        if (chunk >= plan.chunks || queries == 0 || keys == 0) return;
        const BackwardScratch<T> scratch = layout_.scratch(memory_, worker);
        const Index begin = plan.blocks * chunk / plan.chunks, end = plan.blocks * (chunk + 1) / plan.chunks;
        for (Index which = begin; which < end; ++which) {
            const LaneBlock block = lane_block(plan.sequence, s, kv_head(head), which, queries, keys);
            BlockBackward<T, A, X>(attention_, problem_, gradients_, block, layout_.width(), scratch, sums).run();
        }
    }
    LaneBlock lane_block(const SequencePlan<T>& plan, Index s, Index kv, Index which, Index queries, Index keys) const {
        const Index group = problem_.shape.group();
        LaneBlock block{.sequence = s, .kv_head = kv, .head = kv * group, .key_end = keys, .by_parts = plan.blocks > 1};
        if (plan.heads_together) {
            block.heads = group;
            block.rows = queries;
        } else {
            block.head += which / plan.blocks;
            block.row = which % plan.blocks * plan.rows;
            block.rows = std::min(plan.rows, queries - block.row);
        }
        return block;
    }

    /// Adds the chunks' sums of one tile of keys, in order, and from the features' gradients makes those of the keys.
    void finish_tile(Index head, Index tile, Index first_slot) {
        const Index s = sequence(head), begin = tile * key_block;
        const Index count = std::min(key_block, problem_.keys(s) - begin);
        const Index chunks = layout_.chunks();
        Index base = 0;
        while (base < chunks && !layout_.slot(memory_, first_slot + base).touched[tile]) ++base;
        if (base == chunks) return;
        KeyGradients<T> sums = layout_.slot(memory_, first_slot + base);
        for (Index chunk = base + 1; chunk < chunks; ++chunk) {
            const KeyGradients<T> more = layout_.slot(memory_, first_slot + chunk);
            if (more.touched[tile]) sums.add(more, tile, count);
        }
        using Rows = StridedBlock<T>;
        const Rows dk(sums.dk + begin * sums.dk_stride, count, layout_.width(), Eigen::OuterStride<>(sums.dk_stride));
        const Rows dv(sums.dv + begin * sums.dv_stride, count, problem_.shape.d_v,
                      Eigen::OuterStride<>(sums.dv_stride));
        const auto rows = [&](const auto& view) {
            return problem_.key_slice(view, s, kv_head(head)).middleRows(begin, count);
        };
        auto dk_rows = rows(gradients_.dk);
        auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->score();
        reference::map_keys_backward(attention_.score(), rows(problem_.k), dk, dk_rows, gradient);
        rows(gradients_.dv) += dv.template cast<X>();
    }

    const A& attention_;
    const Problem<X>& problem_;
    const Gradients<T, A, X>& gradients_;
    const BackwardLayout<T, A, X>& layout_;
    std::byte* memory_;
    const ExecutorRef& executor_;
};

}  // namespace attend::detail::fused

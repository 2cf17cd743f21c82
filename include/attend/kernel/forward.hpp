#pragma once
/// \file
/// The fused forward kernel of a whole call: its tasks and its workspace. Memory does not depend on the number of keys,
/// except with normalizers that need a row whole.

#include <atomic>

#include <attend/kernel/block_forward.hpp>

namespace attend::detail::fused {

/// The scalars that the fused kernel computes in; the reference computes in any.
template <class T>
concept Supported = std::is_same_v<T, float> || std::is_same_v<T, double>;

/// The workspace of a call: scratch for each worker, then what is left of each chunk of keys. From the shape alone, so
/// that the need is known before the call.
template <class T, class A>
class Layout {
public:
    static constexpr bool splits = OnlineNormalizer<typename A::NormalizerFunctor>;

    Layout(const A& attention, const Shape& shape, Index workers)
        : shape_(shape), width_(reference::features(attention.score(), shape)), workers_(workers) {
        const SequencePlan<T> plan(shape.group(), shape.queries, shape.keys, splits);
        const bool may_differ = shape.sequences > 1;  // sequences of a ragged batch have plans of their own
        lanes_ = may_differ ? plan.most_lanes : plan.lanes;
        chunks_ = may_differ ? SequencePlan<T>(1, 1, shape.keys, splits).chunks : plan.chunks;
        Arena scratch, partial;
        Scratch<T>(scratch, shape, lanes_, width_, whole_rows, exponentials);
        scratch_bytes_ = scratch.used();
        if (chunks_ > 1) Partial<T>(partial, shape, lanes_);
        partial_bytes_ = partial.used();
    }

    Index width() const { return width_; }
    std::size_t bytes() const {
        return static_cast<std::size_t>(workers_) * scratch_bytes_ +
               static_cast<std::size_t>(shape_.sequences * shape_.kv_heads * chunks_) * partial_bytes_;
    }
    Scratch<T> scratch(std::byte* memory, Index worker) const {
        Arena arena(memory + static_cast<std::size_t>(worker) * scratch_bytes_);
        return Scratch<T>(arena, shape_, lanes_, width_, whole_rows, exponentials);
    }
    Partial<T> partial(std::byte* memory, const LaneBlock& block, Index chunk) const {
        const Index which = (block.sequence * shape_.kv_heads + block.kv_head) * chunks_ + chunk;
        Arena arena(memory + static_cast<std::size_t>(workers_) * scratch_bytes_ +
                    static_cast<std::size_t>(which) * partial_bytes_);
        return Partial<T>(arena, shape_, lanes_);
    }

private:
    static constexpr bool whole_rows = RowNormalizer<typename A::NormalizerFunctor>;
    static constexpr bool exponentials = ExponentialScore<typename A::ScoreFunctor, T>;

    const Shape& shape_;  // a copy would wait for what has just been written
    Index width_, workers_, lanes_ = 0, chunks_ = 1;
    std::size_t scratch_bytes_ = 0, partial_bytes_ = 0;
};

/// out = weights · v for every head, by blocks of queries.
template <class T, class A, class X>
void forward(const A& attention, const Problem<X>& problem, const Layout<T, A>& layout, const StridedView<X>& out,
             const StridedView<T>& lse, std::byte* memory, const ExecutorRef& executor) {
    const Plan<T, X> plan(problem, layout.splits);
    std::atomic<bool> any_split = false;
    executor.for_each(plan.tasks(), [&](Index task, Index worker) {
        const LaneBlock block = plan.block(task);
        const Scratch<T> scratch = layout.scratch(memory, worker);
        BlockForward<T, A, X> forward(attention, problem, block, layout.width(), scratch);
        if (task + executor.concurrency() < plan.tasks()) forward.expect(plan.block(task + executor.concurrency()));
        if (block.chunks == 1) forward.expect_output(out);
        forward.run(lse.data != nullptr);
        if (block.chunks == 1) {
            forward.finish(out, lse);
        } else {
            forward.store(layout.partial(memory, block, block.chunk));
            any_split = true;
        }
    });
    if (!any_split) return;
    // The chunks of a block merge in order, whoever computed them.
    executor.for_each(plan.tasks(), [&](Index task, Index worker) {
        const LaneBlock block = plan.block(task);
        if (block.chunks == 1 || block.chunk > 0) return;
        const Scratch<T> scratch = layout.scratch(memory, worker);
        BlockForward<T, A, X> forward(attention, problem, block, layout.width(), scratch);
        forward.load(layout.partial(memory, block, 0));
        for (Index chunk = 1; chunk < block.chunks; ++chunk) forward.merge(layout.partial(memory, block, chunk));
        forward.finish(out, lse);
    });
}

}  // namespace attend::detail::fused

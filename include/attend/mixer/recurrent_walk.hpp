#pragma once
/// \file
/// How the keys and queries of a call go through a recurrent mixer, forward and backward.

#include <algorithm>
#include <type_traits>
#include <vector>

#include <attend/mixer/chunk_walk.hpp>
#include <attend/mixer/recurrent_head.hpp>
#include <attend/mixer/recurrent_scratch.hpp>

namespace attend::inline ATTEND_ABI::detail {

inline Index recurrent_tasks(const Shape& shape) { return shape.sequences * shape.kv_heads; }

/// One key/value head of one sequence, token by token, and the query heads that read its state.
template <class M, class X>
class RowWalk : RecurrentHead<M, X> {
    using C = Compute<X>;
    using Head = RecurrentHead<M, X>;
    using Head::mixer_, Head::k_, Head::v_, Head::queries_, Head::carried_;
    using Head::problem_, Head::add_rows, Head::for_each_head, Head::key_rows, Head::keys_of, Head::queries;

public:
    using Scratch = RecurrentScratch<C>;

    RowWalk(const Head& head, const Scratch& scratch) : Head(head), scratch_(scratch) {}

    void forward(const StridedView<X>& out) const {
        MixerState<C> state = carried_ ? this->present() : scratch_.state();
        if (!carried_) state.setZero();
        Index absorbed = 0;
        for (Index i = 0; i < queries_; ++i) {
            for (const Index sees = keys_of(i); absorbed < sees; ++absorbed) absorb(absorbed, state);
            for_each_head([&](Index head) {
                MixerRow<C> row = scratch_.out();
                if (absorbed > 0) {
                    const MixerRowIn<C> q = scratch_.q(queries(problem_.q, head), i);
                    const MixerStateIn<C> read = read_only(state);
                    mixer_.read(q, read, row);
                }
                queries(out, head).row(i) = row.template cast<X>();
            });
        }
        for (; absorbed < this->absorbs(); ++absorbed) absorb(absorbed, state);
    }

    /// From the last key to the first. The states before each run of √n keys are kept from a walk forward; those
    /// between the keys of one run are made again when it is at hand.
    void backward(const RecurrentGradients<X>& gradients, M* gradient) const {
        const Index seen = this->absorbs();
        if (seen == 0) return;
        const Index run = Scratch::run_of(seen), last_run = (seen - 1) / run * run;
        MixerState<C> state = scratch_.state(), dstate = carried_ ? this->carried_gradient() : scratch_.gradient();
        this->start(state);
        if (!carried_) dstate.setZero();
        for (Index j = 0; j < last_run; ++j) {
            if (j % run == 0) scratch_.before_run(j / run) = state;
            absorb(j, state);
        }
        scratch_.before_run(last_run / run) = state;
        Index unread = queries_;
        for (Index begin = last_run; begin >= 0; begin -= run) {
            const Index end = std::min(begin + run, seen);
            state = scratch_.before_run(begin / run);
            for (Index j = begin; j < end; ++j) {
                scratch_.before_key(j - begin) = state;
                absorb(j, state);
            }
            for (Index j = end - 1; j >= begin; --j) {
                for (; unread > 0 && keys_of(unread - 1) == j + 1; --unread)
                    read_backward(unread - 1, state, gradients, dstate, gradient);
                state = scratch_.before_key(j - begin);
                absorb_backward(j, state, gradients, dstate, gradient);
            }
        }
    }

private:
    static MixerStateIn<C> read_only(const MixerState<C>& state) { return {state.data(), state.rows(), state.cols()}; }
    void absorb(Index j, MixerState<C>& state) const {
        const MixerRowIn<C> k = scratch_.k(k_, j), v = scratch_.v(v_, j);
        mixer_.absorb(k, v, state);
    }
    void read_backward(Index i, const MixerState<C>& state, const RecurrentGradients<X>& gradients,
                       MixerState<C>& dstate, M* gradient) const {
        for_each_head([&](Index head) {
            const MixerRowIn<C> q = scratch_.q(queries(problem_.q, head), i),
                                dout = scratch_.dout(queries(gradients.dout, head), i);
            const MixerStateIn<C> read = read_only(state);
            MixerRow<C> dq = scratch_.dq();
            mixer_.read_backward(q, read, dout, dq, dstate, gradient);
            add_rows(dq, queries(gradients.dq, head), i);
        });
    }
    void absorb_backward(Index j, const MixerState<C>& state, const RecurrentGradients<X>& gradients,
                         MixerState<C>& dstate, M* gradient) const {
        const MixerRowIn<C> k = scratch_.k(k_, j), v = scratch_.v(v_, j);
        const MixerStateIn<C> before = read_only(state);
        MixerRow<C> dk = scratch_.dk(), dv = scratch_.dv();
        mixer_.absorb_backward(k, v, before, dstate, dk, dv, gradient);
        add_rows(dk, key_rows(gradients.dk), j);
        add_rows(dv, key_rows(gradients.dv), j);
    }

    const Scratch& scratch_;
};

/// How a mixer's tokens are walked through.
template <class M, class X>
using RecurrentWalk = std::conditional_t<ChunkMixer<M, Compute<X>>, ChunkWalk<M, X>, RowWalk<M, X>>;

/// Calls `f(walk, group)` for the tasks of a call, a key/value head of a sequence each. One worker does those of a
/// group in order; `memory` holds the scratch of as many workers as the executor has.
template <class M, class X, class F>
void for_each_recurrent_head(const M& mixer, const Problem<X>& problem, const CarriedStates<Compute<X>>& carried,
                             Index groups, Pass pass, std::byte* memory, const ExecutorRef& executor, const F& f) {
    using Walk = RecurrentWalk<M, X>;
    using Scratch = typename Walk::Scratch;
    const std::size_t bytes = Scratch::bytes(mixer, problem.shape, pass);
    const Index tasks = recurrent_tasks(problem.shape);
    executor.for_each(groups, [&](Index group, Index worker) {
        const Scratch scratch(memory + bytes * static_cast<std::size_t>(worker), mixer, problem.shape, pass);
        for (Index task = group * tasks / groups; task < (group + 1) * tasks / groups; ++task)
            f(Walk(RecurrentHead<M, X>(mixer, problem, task, carried), scratch), group);
    });
}

/// Gradients of parameters, one sum for each group of tasks but the first, which adds to the caller's own: added up in
/// order, so that the bits do not depend on threads.
template <class M>
class MixerSums {
public:
    static constexpr Index most = 16;

    /// Returns for how many groups there are sums. One, where a parameter is a view, of which a copy is no other.
    Index start(M& gradient, Index tasks) {
        others_.assign(static_cast<std::size_t>(std::clamp<Index>(tasks, 1, most) - 1), gradient);
        const auto clear = [](const ParameterName&, auto& matrix) {
            using P = typename std::remove_cvref_t<decltype(matrix)>::Scalar;
            static_assert(std::is_same_v<P, Compute<P>>,
                          "attend: the parameters of a recurrent mixer are float or double: sums in 16 bits would stop "
                          "growing");
            matrix.setZero();
        };
        if (!others_.empty() && share_parameters(others_.front(), gradient)) others_.clear();
        for (M& sum : others_) walk_parameters(sum, {}, clear);
        return static_cast<Index>(others_.size()) + 1;
    }
    /// The sum of a group; none without a gradient.
    M* of(Index group, M* gradient) {
        return gradient == nullptr || group == 0 ? gradient : &others_[static_cast<std::size_t>(group - 1)];
    }
    void add_up(M& gradient) {
        for (M& sum : others_) add_parameters(sum, gradient);
    }

private:
    std::vector<M> others_;
};

}  // namespace attend::detail

#pragma once
/// \file
/// The scratch memory of a recurrent mixer's calls.

#include <cmath>

#include <attend/mixer/mixer.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// What a worker holds: a row of each operand and of its gradient, and states, side by side.
template <class C>
class RecurrentScratch {
public:
    /// On a null block nothing may be used.
    RecurrentScratch(std::byte* block, const auto& mixer, const Shape& shape, Pass pass)
        : shape_(shape), state_(mixer.state(shape)), run_(pass == Pass::backward ? run_of(shape.keys) : 0) {
        Arena arena(block);
        for (C** row : {&q_, &dq_}) *row = arena.take<C>(shape.d_q);
        for (C** row : {&k_, &dk_}) *row = arena.take<C>(shape.d_k);
        for (C** row : {&v_, &dv_, &out_}) *row = arena.take<C>(shape.d_v);
        states_ = arena.take<C>((2 * run_ + 2) * state_.rows * state_.columns);
        bytes_ = arena.used();
    }
    static std::size_t bytes(const auto& mixer, const Shape& shape, Pass pass) {
        return RecurrentScratch(nullptr, mixer, shape, pass).bytes_;
    }

    /// √n rounded up: into runs of so many keys a backward walk cuts n keys.
    static Index run_of(Index keys) { return static_cast<Index>(std::ceil(std::sqrt(static_cast<double>(keys)))); }

    MixerState<C> state() const { return state_at(0); }
    MixerState<C> gradient() const { return state_at(1); }
    /// The state before a run of keys, and that before a key of the run which is at hand.
    MixerState<C> before_run(Index run) const { return state_at(2 + run); }
    MixerState<C> before_key(Index key) const { return state_at(2 + run_ + key); }

    /// A row of one head of an operand.
    MixerRowIn<C> q(const auto& from, Index i) const { return copy(from, i, q_); }
    MixerRowIn<C> k(const auto& from, Index i) const { return copy(from, i, k_); }
    MixerRowIn<C> v(const auto& from, Index i) const { return copy(from, i, v_); }
    MixerRowIn<C> dout(const auto& from, Index i) const { return copy(from, i, out_); }

    /// Zeros, to be written or added to.
    MixerRow<C> out() const { return zeros(out_, shape_.d_v); }
    MixerRow<C> dq() const { return zeros(dq_, shape_.d_q); }
    MixerRow<C> dk() const { return zeros(dk_, shape_.d_k); }
    MixerRow<C> dv() const { return zeros(dv_, shape_.d_v); }

private:
    MixerState<C> state_at(Index i) const {
        return {states_ + i * state_.rows * state_.columns, state_.rows, state_.columns};
    }
    static MixerRowIn<C> copy(const auto& from, Index i, C* to) {
        MixerRow<C>(to, from.cols()) = from.row(i).template cast<C>();
        return {to, from.cols()};
    }
    static MixerRow<C> zeros(C* row, Index columns) {
        MixerRow<C> x(row, columns);
        x.setZero();
        return x;
    }

    const Shape& shape_;
    StateShape state_;
    Index run_;
    C *q_, *k_, *v_, *out_, *dq_, *dk_, *dv_, *states_;
    std::size_t bytes_ = 0;
};

}  // namespace attend::detail

#pragma once
/// \file
/// What a layer mixes tokens with: an attention is one mixer, a recurrence (mixer/recurrent.hpp) another. Layers know
/// mixers by what stands here alone.
///
/// A mixer is a plain value with two calls, those of `Attention`:
/// - `mixer(q, k, v, out, ForwardOptions)` writes the output, one row of d_v columns for every query head and row of q;
/// - `mixer.backward(q, k, v, out, lse, dout, dq, dk, dv, BackwardOptions<Self>)` adds the gradients, also those of
///   its parameters where it is given a value of its own type for them.
///
/// It may have
/// - `void check(const Shape&) const`: throws what is wrong with a call of that shape. The calls ask it, and so does a
///   layer before it computes their operands;
/// - `static void parameters(auto& self, auto&& visit)`, as every part;
/// - `static constexpr bool has_weights = true`, where an output is values summed by weights. Such a mixer has an LSE
///   and writes `.lse` and `.weights`; any other refuses these, dropout, `.dlse` and `.dweights`, and
///   takes an empty lse.
///
/// Its laws, which tests/mixer/laws.hpp asks of any:
/// 1. What can be refused is refused before anything is written: `std::invalid_argument`, naming operands and shapes.
/// 2. What a call gives for a sequence depends on the rows of this sequence alone: not on the others of the batch, on
///    threads, or on what the workspace held. A ragged batch is a call for each of its sequences, to the bit.
/// 3. Heads are calls of their own too: query head h mixes the rows of key/value head h / group.
/// 4. Positions are absolute: key j stands at j, query i at `query_offset + i`. One that is causal lets a query see
///    the keys up to its own position, however many queries and keys there are.
/// 5. A query that sees no key gives zeros, and no gradient.
/// 6. `backward` gives the gradients of what the forward call computed, and adds them to what is there.
///
/// The plain way to one of your own is a recurrent mixer, written for one head of one sequence: a state takes in one
/// key and value after the other, and queries read it. `recurrent(mixer)` of mixer/recurrent.hpp makes a mixer of it.

#include <concepts>
#include <type_traits>

#include <attend/core/concepts.hpp>
#include <attend/core/operands.hpp>
#include <attend/core/options.hpp>
#include <attend/kernel/run.hpp>

namespace attend::inline ATTEND_ABI {

/// A mixer of rows of T.
template <class M, class T>
concept Mixer = requires(const M& mixer, StridedView<const T> x, StridedView<const Compute<T>> lse, Output<T> y,
                         ForwardOptions<Compute<T>> forward, BackwardOptions<std::remove_cv_t<M>> backward) {
    mixer(x, x, x, y, forward);
    mixer.backward(x, x, x, x, lse, x, y, y, y, backward);
};

/// The numbers that a state is made of: a matrix, 0 before anything is absorbed.
struct StateShape {
    Index rows = 0, columns = 0;
};

/// What a recurrent mixer's functions get, all contiguous: rows and states to read, and to write.
template <class C>
using MixerRow = Eigen::Map<Eigen::Matrix<C, 1, Eigen::Dynamic>>;
template <class C>
using MixerRowIn = Eigen::Map<const Eigen::Matrix<C, 1, Eigen::Dynamic>>;
template <class C>
using MixerState = Eigen::Map<RowMatrix<C>>;
template <class C>
using MixerStateIn = Eigen::Map<const RowMatrix<C>>;

/// A mixer of one head of one sequence that computes in C:
/// - `causal`, a member: whether query i reads the state after the keys up to position `query_offset + i`, in
///   self-attention its own among them, or after all keys. What has absorbed nothing is not read: the output is 0;
/// - `StateShape state(const Shape&) const`: by the widths of q, k and v alone;
/// - `absorb(k, v, state) const`: takes a row of k and of v into the state;
/// - `read(q, state, out) const`: writes a row of the output, which comes as zeros;
/// - `absorb_backward(k, v, state, dstate, dk, dv, Self* gradient) const`: `state` is that before the row was absorbed.
///   dstate comes as the gradient of the state after, and leaves as that of the state before; dk and dv are added to;
/// - `read_backward(q, state, dout, dq, dstate, Self* gradient) const`: adds to dq and dstate.
/// Both add to the parameters' gradients, in `*gradient`, where there is one. Parameters are float or double. A `check`
/// may say which widths do not fit; without one queries must be as wide as keys.
template <class M, class C>
concept RecurrentMixer =
    std::copyable<M> && requires(const M& mixer, const Shape& shape, const MixerRowIn<C>& in,
                                 const MixerStateIn<C>& state, MixerRow<C>& row, MixerState<C>& changed, M* gradient) {
        { mixer.causal } -> std::convertible_to<bool>;
        { mixer.state(shape) } -> std::convertible_to<StateShape>;
        mixer.absorb(in, in, changed);
        mixer.read(in, state, row);
        mixer.absorb_backward(in, in, state, changed, row, row, gradient);
        mixer.read_backward(in, state, in, row, changed, gradient);
    };

namespace detail {

template <class M>
inline constexpr bool has_weights =
    OfKind<M, Kind::attention> || requires { requires std::remove_cvref_t<M>::has_weights; };

/// Throws what is wrong with the shape of a call.
template <class M, class X>
void check_mixer(const M& mixer, const Problem<X>& problem) {
    if constexpr (OfKind<M, Kind::attention>) {
        check_call(mixer, problem.shape, problem.q, problem.k);
    } else {
        check_part(mixer, problem.shape);
    }
}

/// Throws where a mixer without weights is asked for what belongs to them.
template <class M, class T>
void check_weights(const Output<T>& lse, const Output<T>& weights, const Insight<T>& insight, const Dropout& dropout) {
    if constexpr (!has_weights<M>) {
        if (insight) refuse("insight: this mixer has no weights to look at: leave it out");
        if (lse) refuse("lse: this mixer has no weights whose log-sum-exp it could be: leave it out");
        if (weights) refuse("weights: this mixer has none: leave them out");
        if (dropout.rate != 0) refuse("dropout: this mixer has no weights to drop: leave it out");
    }
}

}  // namespace detail
}  // namespace attend

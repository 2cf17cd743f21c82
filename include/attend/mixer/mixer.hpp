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
#include <cstddef>
#include <type_traits>

#include <attend/core/concepts.hpp>
#include <attend/core/operands.hpp>
#include <attend/core/options.hpp>
#include <attend/core/read_ahead.hpp>
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
    Index rows = 0, columns = 0;  ///< of the matrix
};

/// What a recurrent mixer's functions get is contiguous: a row to write.
template <class C>
using MixerRow = Eigen::Map<Eigen::Matrix<C, 1, Eigen::Dynamic>>;
/// A row to read.
template <class C>
using MixerRowIn = Eigen::Map<const Eigen::Matrix<C, 1, Eigen::Dynamic>>;
/// A state to write.
template <class C>
using MixerState = Eigen::Map<RowMatrix<C>>;
/// A state to read.
template <class C>
using MixerStateIn = Eigen::Map<const RowMatrix<C>>;

/// A chunk of the tokens of one key/value head of a sequence, and the queries among them of the `heads` that read it,
/// those of a head below those of the one before.
template <class C>
struct MixerChunk {
    Index keys = 0, queries = 0;         ///< of one head
    Index first = 0;                     ///< query i of a head stands at key first + i; of no keys all read the state
    Index heads = 1;                     ///< query heads that read this key/value head
    MixerStateIn<C> k{nullptr, 0, 0};    ///< keys × d_k
    MixerStateIn<C> v{nullptr, 0, 0};    ///< keys × d_v
    MixerStateIn<C> q{nullptr, 0, 0};    ///< heads · queries × d_q
    detail::ReadAhead* ahead = nullptr;  ///< rows of the next chunk, for products to ask for by the way

    /// How many keys of the chunk a query sees.
    Index seen(Index query) const { return keys == 0 ? 0 : first + query + 1; }
};
/// Where the gradients of its rows are added.
template <class C>
struct MixerChunkGradients {
    MixerState<C> q, k, v;  ///< of the shapes of the chunk's
};

/// What takes token by token; `RecurrentMixer` says how.
template <class M, class C>
concept RowMixer = requires(const M& mixer, const MixerRowIn<C>& in, const MixerStateIn<C>& state, MixerRow<C>& row,
                            MixerState<C>& changed, M* gradient) {
    mixer.absorb(in, in, changed);
    mixer.read(in, state, row);
    mixer.absorb_backward(in, in, state, changed, row, row, gradient);
    mixer.read_backward(in, state, in, row, changed, gradient);
};

/// What takes chunks of them.
template <class M, class C>
concept ChunkMixer = requires(const M& mixer, const Shape& shape, const MixerRowIn<C>& in, const MixerChunk<C>& chunk,
                              const MixerStateIn<C>& state, MixerState<C>& changed, MixerChunkGradients<C>& gradients,
                              M* gradient, std::byte* room) {
    { mixer.chunk_tokens() } -> std::convertible_to<Index>;
    { mixer.template chunk_bytes<C>(shape, Pass::forward) } -> std::convertible_to<std::size_t>;
    { mixer.begins_chunk(in, in) } -> std::convertible_to<bool>;
    mixer.mix_chunk(chunk, changed, changed, room);
    mixer.mix_chunk_backward(chunk, state, state, changed, gradients, gradient, room);
};

/// A mixer of one head of one sequence that computes in C:
/// - `causal`, a member: whether query i reads the state after the keys up to position `query_offset + i`, in
///   self-attention its own among them, or after all keys. What has absorbed nothing is not read: the output is 0;
/// - `StateShape state(const Shape&) const`: by the widths of q, k and v alone;
/// - `absorb(k, v, state) const`: takes a row of k and of v into the state;
/// - `read(q, state, out) const`: writes a row of the output, which comes as zeros;
/// - `absorb_backward(k, v, state, dstate, dk, dv, Self* gradient) const`: `state` is that before the row was absorbed.
///   dstate comes as the gradient of the state after, and leaves as that of the state before; dk and dv are added to;
/// - `read_backward(q, state, dout, dq, dstate, Self* gradient) const`: adds to dq and dstate.
/// Both add to the parameters' gradients, in `*gradient`, where there is one. Parameters are float or double.
///
/// Instead of the last four it may take tokens in chunks, as where matrix products make more of them:
/// - `Index chunk_tokens() const`: the most keys of a chunk, and queries of a head;
/// - `std::size_t chunk_bytes<C>(const Shape& most, Pass) const`: the scratch memory of one, `room` below;
/// - `bool begins_chunk(k, v) const`: whether a token must be the first of a chunk. One that holds NaN must, where
///   products with masked scores of 0 would carry it to tokens before;
/// - `mix_chunk(const MixerChunk&, state, out, room) const`: the state becomes that after the chunk's keys, and out
///   what its queries read on the way;
/// - `mix_chunk_backward(const MixerChunk&, state, dout, dstate, MixerChunkGradients&, Self* gradient, room) const`:
///   `state` is that before the chunk, dstate goes from the gradient after it to that before, and the others are added
///   to.
///
/// A `check` may say which widths do not fit. `Index key_width(Index d_q) const` says how wide keys are, whatever
/// stands in them beside features, for queries of a width; without both they are as wide as these.
template <class M, class C>
concept RecurrentMixer =
    std::copyable<M> && (RowMixer<M, C> || ChunkMixer<M, C>)&&requires(const M& mixer, const Shape& shape) {
        { mixer.causal } -> std::convertible_to<bool>;
        { mixer.state(shape) } -> std::convertible_to<StateShape>;
    };

namespace detail {

/// How wide a mixer's keys are.
template <class M>
Index key_width(const M& mixer, Index d_q) {
    if constexpr (requires { mixer.key_width(d_q); }) {
        return mixer.key_width(d_q);
    } else {
        return d_q;
    }
}

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

#pragma once
/// \file
/// The states of a recurrent mixer, between calls.

#include <limits>
#include <string_view>
#include <type_traits>
#include <vector>

#include <attend/call/places.hpp>
#include <attend/mixer/recurrent_head.hpp>

namespace attend::inline ATTEND_ABI {

/// What a cache of states holds.
struct RecurrentCacheShape {
    Index heads = 1;      ///< key/value heads
    StateShape state{};   ///< of each, as the mixer's `state` says
    Index sequences = 1;  ///< each with a number of tokens of its own
};

/// A state for each key/value head of each sequence, which takes in token by token: `recurrent(q, k, v, cache, out)`,
/// `block.step(x, cache, y)`. Its size does not grow: sequences · heads · the state's, taken when the cache is made.
/// T is float or double, what calls compute in. A call whose operands a mixer refuses changes nothing. What is asked of
/// a sequence or a head that there is not throws.
template <class T>
class RecurrentCache {
public:
    /// All sequences empty. Throws where the shape is none, or holds more than any memory.
    explicit RecurrentCache(const RecurrentCacheShape& shape) : shape_(shape) {
        static_assert(std::is_same_v<T, Compute<T>>,
                      "attend: a recurrence's states are float or double: what calls "
                      "compute in");
        const auto size = [](Index n) { return static_cast<double>(n); };
        detail::require(
            shape.heads > 0 && shape.sequences > 0 && shape.state.rows >= 0 && shape.state.columns >= 0 &&
                size(shape.heads) * size(shape.sequences) * size(shape.state.rows) * size(shape.state.columns) <
                    static_cast<double>(std::numeric_limits<Index>::max() / 64),
            "recurrent cache: sequences and heads must be above 0, states of no negative size, and fit "
            "into memory, got ",
            shape.sequences, ", ", shape.heads, " and ", shape.state.rows, "x", shape.state.columns);
        states_.setZero(shape.sequences * stride());
        tokens_.assign(static_cast<std::size_t>(shape.sequences), 0);
    }

    const RecurrentCacheShape& shape() const { return shape_; }  ///< what it was made for
    Index sequences() const { return shape_.sequences; }         ///< of the shape
    Index heads() const { return shape_.heads; }                 ///< of the shape
    /// How many tokens a sequence has taken in: the next stands at that position.
    Index tokens(Index sequence = 0) const {
        check_sequence("tokens", sequence);
        return tokens_[static_cast<std::size_t>(sequence)];
    }

    /// A head's state of a sequence, to be read or set: ONNX's past_state before a call, present_state after it.
    /// @{
    MixerState<T> state(Index sequence, Index head) {
        check_state(sequence, head);
        return {states_.data() + begin(sequence, head), shape_.state.rows, shape_.state.columns};
    }
    MixerStateIn<T> state(Index sequence, Index head) const {
        check_state(sequence, head);
        return {states_.data() + begin(sequence, head), shape_.state.rows, shape_.state.columns};
    }
    /// @}
    /// Forgets a sequence.
    void reset(Index sequence = 0) {
        check_sequence("reset", sequence);
        states_.segment(begin(sequence, 0), stride()).setZero();
        tokens_[static_cast<std::size_t>(sequence)] = 0;
    }
    /// Makes a sequence what another one is, as beams do.
    void copy(Index from, Index to) {
        check_sequence("copy", from), check_sequence("copy", to);
        if (from == to) return;
        states_.segment(begin(to, 0), stride()) = states_.segment(begin(from, 0), stride());
        tokens_[static_cast<std::size_t>(to)] = tokens_[static_cast<std::size_t>(from)];
    }

    /// The states as calls take them: head by head, then sequence by sequence.
    /// @{
    T* data() { return states_.data(); }
    const T* data() const { return states_.data(); }
    /// @}
    /// Says that a sequence has taken in so many tokens more, as the calls on a cache do.
    void advance(Index tokens, Index sequence) {
        check_sequence("advance", sequence);
        tokens_[static_cast<std::size_t>(sequence)] += tokens;
    }

private:
    Index stride() const { return shape_.heads * shape_.state.rows * shape_.state.columns; }
    Index begin(Index sequence, Index head) const {
        return sequence * stride() + head * shape_.state.rows * shape_.state.columns;
    }
    void check_sequence(std::string_view what, Index sequence) const {
        detail::require(sequence >= 0 && sequence < shape_.sequences, "recurrent cache: ", what, " of sequence ",
                        sequence, ", but there are ", shape_.sequences);
    }
    void check_state(Index sequence, Index head) const {
        check_sequence("state", sequence);
        detail::require(head >= 0 && head < shape_.heads, "recurrent cache: state of head ", head, ", but there are ",
                        shape_.heads);
    }

    RecurrentCacheShape shape_;
    ColumnVector<T> states_;  ///< Eigen aligns it to packets
    std::vector<Index> tokens_;
};

namespace detail {

/// The states that a call goes on from, and where they come to stand, if it has such.
template <class C>
struct KeptTokens {
    const RecurrentCache<C>* past = nullptr;
    RecurrentCache<C>* present = nullptr;  ///< the same, of a forward call
    RecurrentCache<C>* gradients = nullptr;

    /// Throws unless they are those of the call's sequences and heads, and queries stand at latest keys.
    template <class X>
    void check(const Problem<X>& problem, const StateShape& state) const {
        if (past == nullptr) return;
        check_cache(*past, "the cache", state, problem.shape);
        if (gradients != nullptr) check_cache(*gradients, "dstates", state, problem.shape);
        require(gradients != past, "dstates are the very states that the call started from");
        require(problem.shape.query_offset == 0,
                "query_offset: queries of a call on states stand at the latest keys: leave it out");
        for (Index s = 0; s < problem.shape.sequences; ++s)
            require(problem.queries(s) <= problem.keys(s), "sequence ", s, " has ", problem.queries(s),
                    " queries, but only ", problem.keys(s), " keys that they could stand at");
    }
    /// Throws where an output is memory of the states.
    void check_outputs(const auto&... outputs) const {
        apart_from(past, "the cache", [&](const auto& place) { (require_apart(outputs, place), ...); });
        apart_from(gradients, "dstates", [&](const auto& place) { (require_apart(outputs, place), ...); });
    }
    /// Throws where the call would write states over what it reads.
    void check_inputs(const auto&... inputs) const {
        apart_from(present, "the cache", [&](const auto& place) { (require_apart(place, inputs), ...); });
        apart_from(gradients, "dstates", [&](const auto& place) { (require_apart(place, inputs), ...); });
    }
    CarriedStates<C> states() const {
        if (past == nullptr) return {};
        return {past->data(), present == nullptr ? nullptr : present->data(),
                gradients == nullptr ? nullptr : gradients->data()};
    }
    template <class X>
    void advance(const Problem<X>& problem) const {
        for (Index s = 0; present != nullptr && s < present->sequences(); ++s) present->advance(problem.keys(s), s);
    }

private:
    static void apart_from(const RecurrentCache<C>* cache, std::string_view name, const auto& check) {
        if (cache == nullptr) return;
        const RecurrentCacheShape& shape = cache->shape();
        const Eigen::Map<const RowMatrix<C>> all(cache->data(), shape.sequences * shape.heads * shape.state.rows,
                                                 shape.state.columns);
        const StridedView<const C> view = view_of(all.data(), all);
        check(Place<const C>(view, name));
    }
    static void check_cache(const RecurrentCache<C>& cache, std::string_view name, const StateShape& state,
                            const Shape& shape) {
        const RecurrentCacheShape& held = cache.shape();
        if (held.sequences != shape.sequences || held.heads != shape.kv_heads || held.state.rows != state.rows ||
            held.state.columns != state.columns)
            refuse(name, " holds ", held.sequences, " sequences with ", held.heads, " states of ", held.state.rows, "x",
                   held.state.columns, ", but the call has ", shape.sequences, " with ", shape.kv_heads, " of ",
                   state.rows, "x", state.columns);
    }
};

}  // namespace detail
}  // namespace attend

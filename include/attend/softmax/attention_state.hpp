#pragma once
/// \file
/// What an attention knows of some of its keys: a value that merges with what it knows of others.

#include <cmath>
#include <limits>
#include <type_traits>

#include <attend/core/errors.hpp>
#include <attend/core/types.hpp>
#include <attend/softmax/online.hpp>

namespace attend::inline ATTEND_ABI {

/// The result of an attention over some of the keys, for all rows and heads of a call; those of disjoint keys merge,
/// in any order and grouping, to that of all of them but for rounding. From `attention.state(q, k, v)`, or of a call
/// that is given its members: `attention(q, k, v, state.output, {.lse = state.lse})`.
///
/// The gradients of the whole come of its parts: with the merged output and LSE, and with the gradient of the merged
/// output, `attention.backward(q, k_part, v_part, state.output, state.lse, dout, dq, dk_part, dv_part)` adds to dq what
/// that part gives and to dk and dv all of theirs, since the weights are formed from the whole row's LSE. Keys of a
/// part stand at 0, 1, … in such a call: where positions matter, its `query_offset` is less by where the part begins,
/// and may be negative.
///
/// No state holds a sink, which would count once for every part: `add_sink` adds it to the merged one.
template <class T>
struct AttentionState {
    RowMatrix<T> output;        ///< n × heads · d_v; 0 of a row without a key
    RowMatrix<Compute<T>> lse;  ///< n × heads, natural log; −∞ without a key

    /// One without rows, which a call makes as large as it needs.
    AttentionState() = default;
    /// The state of no keys: merging it changes nothing. Values are d_v wide. Throws where a size is negative, or
    /// where there is no head.
    AttentionState(Index rows, Index heads, Index d_v) {
        detail::require(rows >= 0 && heads > 0 && d_v >= 0, "state: needs rows, at least one head and a width, got ",
                        rows, ", ", heads, " and ", d_v);
        output.setZero(rows, heads * d_v);
        lse.setConstant(rows, heads, -std::numeric_limits<Compute<T>>::infinity());
    }

    Index rows() const { return output.rows(); }  ///< queries
    Index heads() const { return lse.cols(); }    ///< query heads

    /// Forgets all keys.
    void clear() {
        output.setZero();
        lse.setConstant(-std::numeric_limits<Compute<T>>::infinity());
    }
    /// Takes in the keys of another state of as many rows, heads and values' features. O(n · heads · d_v), and nothing
    /// from the heap. Of 16-bit outputs each merge rounds once. Throws where the states differ in shape.
    void merge(const AttentionState& other) {
        detail::require(other.output.cols() == output.cols() && other.rows() == rows() && other.heads() == heads(),
                        "merge: the states have outputs ", detail::named("a", output.rows(), output.cols()), " of ",
                        heads(), " heads and ", detail::named("b", other.output.rows(), other.output.cols()), " of ",
                        other.heads());
        if (rows() > 0) attend::merge(output, lse, other.output, other.lse, output, lse);
    }
    /// Takes in a sink, as `softmax_with_sink(sink)` has it: a number for all heads, or a vector of one a head. To be
    /// called once, when all keys are in. A row without a key stays one. Throws unless there is a number a head.
    template <class Logit>
    void add_sink(const Logit& logit) {
        constexpr bool one = std::is_arithmetic_v<Logit>;
        if constexpr (!one)
            detail::require(logit.size() == heads(), "add_sink: sink (", logit.size(),
                            " values) must have one value a head, there are ", heads(), " heads");
        const auto of_head = [&](Index h) {
            if constexpr (one) {
                return static_cast<Compute<T>>(logit);
            } else {
                return static_cast<Compute<T>>(logit[h]);
            }
        };
        const Index width = heads() == 0 ? 0 : output.cols() / heads();
        for (Index i = 0; i < rows(); ++i) {
            for (Index h = 0; h < heads(); ++h) {
                Compute<T>& all = lse(i, h);
                if (all == -std::numeric_limits<Compute<T>>::infinity()) continue;
                const detail::Rescaling<Compute<T>> scale(all, of_head(h));
                const Compute<T> sum = scale.a + scale.b;
                all = scale.max + std::log(sum);
                auto row = output.row(i).segment(h * width, width);
                row = (row.template cast<Compute<T>>() * (scale.a / sum)).template cast<T>();
            }
        }
    }
};

/// The state of the keys of both. Throws where they differ in shape. O(n · heads · d_v).
template <class T>
AttentionState<T> merge(AttentionState<T> a, const AttentionState<T>& b) {
    a.merge(b);
    return a;
}

}  // namespace attend

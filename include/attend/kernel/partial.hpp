#pragma once
/// \file
/// What is left of a block after some of the keys, where several tasks share the keys of one block.

#include <algorithm>

#include <attend/kernel/block_scratch.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// What a block's rows have seen, and their weighted values.
template <class T>
struct Partial {
    Index members;
    T *states, *o;

    Partial(Arena& arena, Index members_, const Shape& shape, Index lanes)
        : members(members_), states(arena.take<T>(members * lanes)), o(arena.take<T>(lanes * shape.d_v)) {}

    /// Copies what stands in the scratch, and back.
    void keep(const Scratch<T>& z, Index lanes, Index d_v) const {
        std::copy(z.rows.states, z.rows.states + members * lanes, states);
        std::copy(z.o, z.o + d_v * lanes, o);
    }
    void restore(const Scratch<T>& z, Index lanes, Index d_v) const {
        std::copy(states, states + members * lanes, z.rows.states);
        std::copy(o, o + d_v * lanes, z.o);
    }

    /// Adds the values to those in the scratch, d_v × lanes, by what merging the states left there.
    void add_to_lanes(const Scratch<T>& z, Index lanes, Index d_v) const {
        for (Index a = 0; a < d_v * lanes; a += lanes) {
            for (Index i = 0; i < lanes; ++i) z.o[a + i] = z.rows.factor[i] * z.o[a + i] + z.rows.largest[i] * o[a + i];
        }
    }
    /// The same of values that are row by row.
    void add_to_rows(const Scratch<T>& z, Index rows, Index d_v) const {
        for (Index i = 0; i < rows; ++i) {
            for (Index a = i * d_v; a < (i + 1) * d_v; ++a)
                z.o[a] = z.rows.factor[i] * z.o[a] + z.rows.largest[i] * o[a];
        }
    }
};

}  // namespace attend::detail::fused

#pragma once
/// \file
/// What is left of a block after some of the keys, where several tasks share the keys of one block.

#include <algorithm>

#include <attend/kernel/block_scratch.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// The maximum, the sum and the weighted values of a block's lanes.
template <class T>
struct Partial {
    T *largest, *sum, *o;

    Partial(Arena& arena, const Shape& shape, Index lanes)
        : largest(arena.take<T>(lanes)), sum(arena.take<T>(lanes)), o(arena.take<T>(lanes * shape.d_v)) {}

    /// Copies what stands in the scratch, and back.
    void keep(const Scratch<T>& z, Index lanes, Index d_v) const {
        std::copy(z.largest, z.largest + lanes, largest);
        std::copy(z.sum, z.sum + lanes, sum);
        std::copy(z.o, z.o + d_v * lanes, o);
    }
    void restore(const Scratch<T>& z, Index lanes, Index d_v) const {
        std::copy(largest, largest + lanes, z.largest);
        std::copy(sum, sum + lanes, z.sum);
        std::copy(o, o + d_v * lanes, z.o);
    }

    /// Adds to what stands in the scratch, whose values are d_v × lanes.
    void add_to_lanes(const Scratch<T>& z, Index lanes, Index d_v) const {
        add_sums(z, lanes);
        for (Index a = 0; a < d_v * lanes; a += lanes) {
            for (Index i = 0; i < lanes; ++i) z.o[a + i] = z.factor[i] * z.o[a + i] + z.next[i] * o[a + i];
        }
    }
    /// The same of values that are row by row.
    void add_to_rows(const Scratch<T>& z, Index rows, Index d_v) const {
        add_sums(z, rows);
        for (Index i = 0; i < rows; ++i) {
            for (Index a = i * d_v; a < (i + 1) * d_v; ++a) z.o[a] = z.factor[i] * z.o[a] + z.next[i] * o[a];
        }
    }

private:
    /// Leaves in `factor` and `next` what rescales the scratch and this to their common maximum.
    void add_sums(const Scratch<T>& z, Index count) const {
        const auto e_to = [](T x) { return simd::first<T>(exp_of_nonpositive<T>(simd::broadcast(x))); };
        for (Index i = 0; i < count; ++i) {
            const T m = std::max(z.largest[i], largest[i]);
            z.factor[i] = e_to(z.largest[i] - m);
            z.next[i] = e_to(largest[i] - m);
            z.sum[i] = z.factor[i] * z.sum[i] + z.next[i] * sum[i];
            z.largest[i] = m;
        }
    }
};

}  // namespace attend::detail::fused

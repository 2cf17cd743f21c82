#pragma once
/// \file
/// The gradients of the keys and values of one head, as the blocks of its queries add them up tile by tile.

#include <algorithm>

#include <attend/kernel/block_scores.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Rows are padded to whole packets, since their features stand in lanes. A tile that nobody has added to holds
/// nothing.
template <class T>
struct KeyGradients {
    Index dk_stride, dv_stride;
    T* dk;          ///< keys × dk_stride: the gradient of the keys' features
    T* dv;          ///< keys × dv_stride
    bool* touched;  ///< by tile of key_block keys

    KeyGradients(Arena& arena, Index keys, Index width, Index d_v)
        : dk_stride(simd::padded<T>(width)),
          dv_stride(simd::padded<T>(d_v)),
          dk(arena.take<T>(keys * dk_stride)),
          dv(arena.take<T>(keys * dv_stride)),
          touched(arena.take<bool>(tiles(keys))) {}

    static Index tiles(Index keys) { return (keys + key_block - 1) / key_block; }
    void clear(Index keys) { std::fill(touched, touched + tiles(keys), false); }

    /// Adds another task's tile.
    void add(const KeyGradients& other, Index tile, Index keys) {
        const Index begin = tile * key_block;
        add(dk + begin * dk_stride, other.dk + begin * dk_stride, keys * dk_stride);
        add(dv + begin * dv_stride, other.dv + begin * dv_stride, keys * dv_stride);
    }

private:
    static void add(T* to, const T* from, Index size) {
        for (Index i = 0; i < size; i += simd::width<T>)
            simd::store(to + i, simd::add(simd::load(to + i), simd::load(from + i)));
    }
};

}  // namespace attend::detail::fused

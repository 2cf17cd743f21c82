#pragma once
/// \file
/// ONNX's RotaryEmbedding operator by attend.

#include <conformance/onnx_tensor.hpp>

namespace attend::test {

template <class T>
struct OnnxRotaryInputs {
    OnnxTensor<T> input{}, cos_cache{},
        sin_cache{};                   ///< caches: positions × pairs, or batch × tokens × pairs without ids
    OnnxTensor<Index> position_ids{};  ///< batch × tokens
};

/// The input with its pairs turned. The caches' width tells how much of a head turns.
template <class T>
OnnxTensor<T> onnx_rotary_embedding(const OnnxRotaryInputs<T>& in, Index heads, bool interleaved) {
    OnnxTensor<T> turned = in.input;
    const auto x = by_heads(turned, heads);
    const auto rows_of = [&](const OnnxTensor<T>& cache, Index sequence) {
        const Index pairs = cache.shape.back();
        RowMatrix<T> rows(x.rows, pairs);
        for (Index row = 0; row < x.rows; ++row) {
            const Index token = sequence * x.rows + row, from = in.position_ids ? in.position_ids.values[token] : token;
            rows.row(row) = cache.values.segment(from * pairs, pairs).matrix().transpose();
        }
        return rows;
    };
    for (Index sequence = 0; sequence < x.sequences; ++sequence) {
        rotate(sequences_of(x, sequence, 1), rows_of(in.cos_cache, sequence), rows_of(in.sin_cache, sequence),
               interleaved ? RopeLayout::interleaved : RopeLayout::half_split);
    }
    return turned;
}

}  // namespace attend::test

#pragma once
/// \file
/// ONNX's Attention operator (opsets 23 to 25) by attend.

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include <conformance/onnx_tensor.hpp>

namespace attend::test {

struct OnnxAttributes {
    std::optional<double> scale{};
    double softcap = 0;  ///< 0: none
    bool is_causal = false;
    Index left_window_size = -1, right_window_size = -1;
    Index q_num_heads = 1, kv_num_heads = 1;       ///< of 3-D inputs
    std::optional<Index> qk_matmul_output_mode{};  ///< none: that output is not asked for
};

template <class T>
struct OnnxInputs {
    OnnxTensor<T> Q{}, K{}, V{};
    OnnxTensor<bool> keep{};  ///< attn_mask, where it is boolean
    OnnxTensor<T> bias{};     ///< attn_mask, where it is added
    OnnxTensor<T> past_key{}, past_value{};
    OnnxTensor<Index> nonpad_kv_seqlen{};
};

template <class T>
struct OnnxOutputs {
    OnnxTensor<T> Y{}, present_key{}, present_value{};
    OnnxTensor<Compute<T>> qk_matmul_output{};
};

/// Leaves scores as they are, so that `weights` shows them, −∞ where masked: a part of an attention from outside the
/// library.
struct KeepScores {
    static constexpr Kind kind = Kind::normalizer;

    template <class T>
    T normalize(std::span<T>, const RowPosition&) const {
        return T(0);
    }
    template <class T>
    void backward(std::span<const T>, std::span<T>, T, const RowPosition&, KeepScores*) const {}
};

/// The past with the new tokens behind it: what the operator calls the present.
template <class T>
OnnxTensor<T> concatenate(const OnnxTensor<T>& past, const StridedView<const T>& fresh) {
    const Index length = past.shape[2], width = fresh.columns;
    OnnxTensor<T> present({fresh.sequences, fresh.heads, length + fresh.rows, width}, T(0));
    const auto old = by_heads(past, fresh.heads);
    const auto at = [](const auto& view, Index sequence, Index head, Index row) {
        return view.data + sequence * view.sequence_stride + head * view.head_stride + row * view.row_stride;
    };
    const auto all = by_heads(present, fresh.heads);
    for (Index sequence = 0; sequence < all.sequences; ++sequence) {
        for (Index head = 0; head < all.heads; ++head) {
            for (Index row = 0; row < all.rows; ++row) {
                const T* const from =
                    row < length ? at(old, sequence, head, row) : at(fresh, sequence, head, row - length);
                std::copy_n(from, width, at(all, sequence, head, row));
            }
        }
    }
    return present;
}

/// A mask with as many columns as there are keys; the operator lets the last ones be missing.
template <class T>
OnnxTensor<T> padded(const OnnxTensor<T>& mask, Index keys, T fill) {
    std::vector<Index> shape = mask.shape;
    const Index columns = shape.back(), rows = mask.values.size() / columns;
    shape.back() = keys;
    OnnxTensor<T> wide(shape, fill);
    wide.values.matrix().template reshaped<Eigen::RowMajor>(rows, keys).leftCols(columns) =
        mask.values.matrix().template reshaped<Eigen::RowMajor>(rows, columns);
    return wide;
}

template <class T>
class OnnxAttention {
public:
    OnnxAttention(const OnnxAttributes& attributes, const OnnxInputs<T>& in)
        : attributes_(attributes),
          q_(by_heads(in.Q, attributes.q_num_heads)),
          k_(by_heads(in.K, attributes.kv_num_heads)),
          v_(by_heads(in.V, attributes.kv_num_heads)) {
        if (in.past_key) {
            out.present_key = concatenate(in.past_key, k_);
            out.present_value = concatenate(in.past_value, v_);
            k_ = by_heads(std::as_const(out.present_key), k_.heads);
            v_ = by_heads(std::as_const(out.present_value), v_.heads);
        }
        keep_ = in.keep ? padded(in.keep, k_.rows, false) : OnnxTensor<bool>({1}, true);
        bias_ = in.bias ? padded(in.bias, k_.rows, -std::numeric_limits<T>::infinity()) : OnnxTensor<T>({1}, T(0));
        std::vector<Index> y_shape = in.Q.shape;
        y_shape.back() = y_shape.size() == 4 ? v_.columns : q_.heads * v_.columns;
        out.Y = OnnxTensor<T>(y_shape, T(0));
        if (attributes.qk_matmul_output_mode) {
            out.qk_matmul_output = OnnxTensor<Compute<T>>({q_.sequences, q_.heads, q_.rows, k_.rows}, 0);
        }

        std::vector<Index> valid, positions;
        for (Index sequence = 0; sequence < q_.sequences; ++sequence) {
            valid.push_back(in.nonpad_kv_seqlen ? in.nonpad_kv_seqlen.values[sequence] : k_.rows);
            const Index offset = in.past_key ? in.past_key.shape[2] : in.nonpad_kv_seqlen ? valid.back() - q_.rows : 0;
            for (Index row = 0; row < q_.rows; ++row) positions.push_back(offset + row);
        }
        compute(std::move(valid), positions);
    }

    OnnxOutputs<T> out;

private:
    /// Every part is always there. What the node does not ask for is a part that changes nothing.
    void compute(std::vector<Index> valid, const std::vector<Index>& positions) {
        // Causal is a window that ends at the query itself.
        const auto visible =
            dense_mask(broadcast(keep_)) & lengths(std::move(valid)) &
            sliding_window(attributes_.left_window_size, attributes_.is_causal ? 0 : attributes_.right_window_size);
        const auto added = bias(broadcast(bias_));
        const auto y = by_heads(out.Y, q_.heads);
        const auto mode = attributes_.qk_matmul_output_mode;
        const auto qk = mode ? Output<Compute<T>>(by_heads(out.qk_matmul_output, q_.heads)) : Output<Compute<T>>();

        const auto run = [&](const auto& scores) {
            const auto attention = scores >> added >> visible;
            if (mode == 3) return attention(q_, k_, v_, y, {.weights = qk, .query_positions = positions});
            attention(q_, k_, v_, y, {.query_positions = positions});
            if (!mode) return;
            // The other modes ask for scores: a second call, whose values have no columns.
            const auto no_values = strided(v_.data, {v_.sequences, v_.heads, v_.rows, 0}, {0, 0, 0, 1});
            RowMatrix<T> no_output;
            if (mode == 2) {
                (attention >> KeepScores{})(q_, k_, no_values, no_output,
                                            {.weights = qk, .query_positions = positions});
            } else {
                (scores >> KeepScores{})(q_, k_, no_values, no_output, {.weights = qk});
            }
        };
        const auto scaled = attributes_.scale ? ScaledDotProductAttention(*attributes_.scale) : scaled_dot_product;
        attributes_.softcap > 0 ? run(scaled >> soft_cap(attributes_.softcap)) : run(scaled);
    }

    OnnxAttributes attributes_;
    StridedView<const T> q_, k_, v_;
    OnnxTensor<bool> keep_;
    OnnxTensor<T> bias_;
};

}  // namespace attend::test

#pragma once
/// \file
/// The weights of a multi-head block: their shapes, their names, and where they come from.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

#include <attend/core/random.hpp>
#include <attend/core/types.hpp>
#include <attend/layer/multi_head_options.hpp>

namespace attend::inline ATTEND_ABI {

/// The matrices and biases of a multi-head block. Weights are in × out: y = x W + b.
template <class T>
class MultiHeadWeights {
public:
    using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;  ///< a weight
    using Packed = PackedProjections<T>;                              ///< what `pack` gives

    Matrix query_weight;   ///< d_model × heads · d_head
    Matrix key_weight;     ///< d_memory × kv_heads · d_key
    Matrix value_weight;   ///< d_value_memory × kv_heads · d_head
    Matrix output_weight;  ///< heads · d_head × d_model
    Matrix gate_weight;    ///< d_model × gates; × 0 without a gate
    ColumnVector<T> query_bias, key_bias, value_bias, output_bias, gate_bias;  ///< empty without bias
    ColumnVector<T> q_norm, k_norm;  ///< gains of the norm, d_head; empty without

    /// The shape, whose zeros stand for nothing any more.
    const MultiHeadShape& shape() const { return shape_; }

    /// The weights as they are now, packed for the products of forward calls: of use where these are many.
    Packed pack() const
        requires std::is_same_v<T, Compute<T>>
    {
        return Packed(query_weight, key_weight, value_weight, output_weight, gate_weight);
    }

    static void parameters(auto& self, auto&& visit) {
        visit("query_weight", self.query_weight);
        visit("key_weight", self.key_weight);
        visit("value_weight", self.value_weight);
        visit("output_weight", self.output_weight);
        if (self.shape_.bias) {
            visit("query_bias", self.query_bias);
            visit("key_bias", self.key_bias);
            visit("value_bias", self.value_bias);
            visit("output_bias", self.output_bias);
        }
        if (self.shape_.qk_norm) {
            visit("q_norm", self.q_norm);
            visit("k_norm", self.k_norm);
        }
        if (self.shape_.gate != OutputGate::none) {
            visit("gate_weight", self.gate_weight);
            if (self.shape_.bias) visit("gate_bias", self.gate_bias);
        }
    }

    /// Takes over the weights of PyTorch's `nn.MultiheadAttention`: `in_proj_weight` holds the query, key and value
    /// projections below each other, each out × in; so does `in_proj_bias`. Give empty biases for a block without.
    /// Copies all. Throws, before anything is written, where shapes do not fit.
    template <class InWeight, class InBias, class OutWeight, class OutBias>
    void import_torch(const Eigen::MatrixBase<InWeight>& in_proj_weight, const Eigen::MatrixBase<InBias>& in_proj_bias,
                      const Eigen::MatrixBase<OutWeight>& out_proj_weight,
                      const Eigen::MatrixBase<OutBias>& out_proj_bias) {
        const Index q = query_width(), keys = key_width(), values = value_width();
        detail::require(shape_.d_memory == shape_.d_model && shape_.d_value_memory == shape_.d_model,
                        "import_torch: a packed in_proj_weight needs memories as wide as x, got d_model ",
                        shape_.d_model, ", d_memory ", shape_.d_memory, " and d_value_memory ", shape_.d_value_memory);
        check_imported(in_proj_weight, "in_proj_weight", q + keys + values, shape_.d_model);
        import_torch(in_proj_weight.topRows(q), in_proj_weight.middleRows(q, keys), in_proj_weight.bottomRows(values),
                     in_proj_bias, out_proj_weight, out_proj_bias);
    }
    /// The same of a module with `kdim` and `vdim`, which are d_memory and d_value_memory here: it holds the three
    /// projections apart, but their biases in one still. Copies all. Throws as the other.
    template <class QWeight, class KWeight, class VWeight, class InBias, class OutWeight, class OutBias>
    void import_torch(const Eigen::MatrixBase<QWeight>& q_proj_weight, const Eigen::MatrixBase<KWeight>& k_proj_weight,
                      const Eigen::MatrixBase<VWeight>& v_proj_weight, const Eigen::MatrixBase<InBias>& in_proj_bias,
                      const Eigen::MatrixBase<OutWeight>& out_proj_weight,
                      const Eigen::MatrixBase<OutBias>& out_proj_bias) {
        const Index q = query_width(), keys = key_width(), values = value_width();
        check_imported(q_proj_weight, "q_proj_weight", q, shape_.d_model);
        check_imported(k_proj_weight, "k_proj_weight", keys, shape_.d_memory);
        check_imported(v_proj_weight, "v_proj_weight", values, shape_.d_value_memory);
        check_imported(out_proj_weight, "out_proj_weight", shape_.d_model, q);
        const Index in_bias = shape_.bias ? q + keys + values : 0, out_bias = shape_.bias ? shape_.d_model : 0;
        detail::require(in_proj_bias.size() == in_bias && out_proj_bias.size() == out_bias, "in_proj_bias (",
                        in_proj_bias.size(), ") and out_proj_bias (", out_proj_bias.size(), ") must hold ", in_bias,
                        " and ", out_bias, " values");
        query_weight = q_proj_weight.transpose().template cast<T>();
        key_weight = k_proj_weight.transpose().template cast<T>();
        value_weight = v_proj_weight.transpose().template cast<T>();
        output_weight = out_proj_weight.transpose().template cast<T>();
        if (!shape_.bias) return;
        const ColumnVector<T> packed = in_proj_bias.reshaped().template cast<T>();
        query_bias = packed.head(q);
        key_bias = packed.segment(q, keys);
        value_bias = packed.tail(values);
        output_bias = out_proj_bias.reshaped().template cast<T>();
    }

protected:
    /// Xavier-uniform weights from `seed`, biases 0, gains 1. A head's keys have `key_width_of(d_head)` columns.
    template <class KeyWidth>
    MultiHeadWeights(const MultiHeadShape& shape, std::uint64_t seed, const KeyWidth& key_width_of)
        : shape_(completed(shape, key_width_of)) {
        query_weight.resize(shape_.d_model, query_width());
        key_weight.resize(shape_.d_memory, key_width());
        value_weight.resize(shape_.d_value_memory, value_width());
        output_weight.resize(query_width(), shape_.d_model);
        gate_weight.resize(shape_.d_model, gate_width());
        Random random(seed);
        for (Matrix* weight : {&query_weight, &key_weight, &value_weight, &output_weight, &gate_weight})
            fill_xavier(*weight, random);
        if (shape_.qk_norm) q_norm.setOnes(shape_.d_head), k_norm.setOnes(shape_.d_head);
        if (!shape_.bias) return;
        gate_bias.setZero(gate_width());
        query_bias.setZero(query_width());
        key_bias.setZero(key_width());
        value_bias.setZero(value_width());
        output_bias.setZero(shape_.d_model);
    }

    /// Columns of the heads' queries, of their keys and of their values, side by side.
    Index query_width() const { return shape_.heads * shape_.d_head; }
    Index key_width() const { return shape_.kv_heads * shape_.d_key; }
    Index value_width() const { return shape_.kv_heads * shape_.d_head; }
    /// Of gates.
    Index gate_width() const {
        return shape_.gate == OutputGate::none ? 0 : shape_.gate == OutputGate::headwise ? shape_.heads : query_width();
    }
    /// Throws unless these weights, or those of a block of this shape, were packed.
    void check_packed(const Packed* packed) const {
        if (packed != nullptr) packed->check(query_weight, key_weight, value_weight, output_weight, gate_weight);
    }

private:
    template <class M>
    static void check_imported(const M& matrix, std::string_view name, Index rows, Index columns) {
        detail::require(matrix.rows() == rows && matrix.cols() == columns,
                        detail::named(name, matrix.rows(), matrix.cols()), " must be ", rows, "x", columns);
    }
    template <class KeyWidth>
    static MultiHeadShape completed(MultiHeadShape shape, const KeyWidth& key_width_of) {
        detail::require(shape.d_model > 0 && shape.heads > 0, "multi_head: d_model and heads must be above 0, got ",
                        shape.d_model, " and ", shape.heads);
        if (shape.kv_heads == 0) shape.kv_heads = shape.heads;
        if (shape.d_memory == 0) shape.d_memory = shape.d_model;
        if (shape.d_value_memory == 0) shape.d_value_memory = shape.d_memory;
        detail::require(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0, "multi_head: ", shape.kv_heads,
                        " kv_heads do not divide ", shape.heads, " heads");
        if (shape.d_head == 0) {
            detail::require(shape.d_model % shape.heads == 0, "multi_head: ", shape.heads,
                            " heads do not divide d_model ", shape.d_model, ": give d_head");
            shape.d_head = shape.d_model / shape.heads;
        }
        detail::require(shape.d_head > 0 && shape.d_memory > 0 && shape.d_value_memory > 0,
                        "multi_head: d_head and the widths of memories must be above 0, got d_head ", shape.d_head,
                        ", d_memory ", shape.d_memory, " and d_value_memory ", shape.d_value_memory);
        const Index d_key = key_width_of(shape.d_head);
        detail::require(shape.d_key == 0 || shape.d_key == d_key, "multi_head: the mixer's keys have ", d_key,
                        " columns a head, not d_key ", shape.d_key, ": leave it out");
        shape.d_key = d_key;
        const auto size = [](Index n) { return static_cast<double>(n); };
        const double widths = size(shape.d_model) + size(shape.d_memory) + size(shape.d_value_memory);
        detail::require(size(shape.heads) * size(std::max(shape.d_head, shape.d_key)) * widths <
                            size(std::numeric_limits<Index>::max() / 16),
                        "multi_head: weights of ", shape.heads, " heads of ", shape.d_head, " features for widths ",
                        shape.d_model, ", ", shape.d_memory, " and ", shape.d_value_memory,
                        " hold more than any memory");
        if (shape.qk_norm) shape.qk_norm->check();
        if (shape.rope) shape.rope->check(shape.d_head);
        return shape;
    }

    MultiHeadShape shape_;
};

}  // namespace attend

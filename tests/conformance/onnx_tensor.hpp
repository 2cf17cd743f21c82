#pragma once
/// \file
/// ONNX tensors, and how they become operands of attend: by strides, without a copy.

#include <array>
#include <vector>

#include <attend/attend.hpp>

namespace attend::test {

/// Row-major values and their dimensions.
template <class T>
struct OnnxTensor {
    std::vector<Index> shape{};
    Eigen::Array<T, Eigen::Dynamic, 1> values{};

    OnnxTensor() = default;
    OnnxTensor(std::vector<Index> dimensions, T fill) : shape(std::move(dimensions)) {
        Index size = 1;
        for (const Index dimension : shape) size *= dimension;
        values.setConstant(size, fill);
    }
    explicit operator bool() const { return !shape.empty(); }
};

/// As sequences × heads × rows × columns: (batch, heads, tokens, width), or (batch, tokens, heads · width) as they also
/// come.
template <class T>
auto by_heads(const std::vector<Index>& shape, T* data, Index heads) {
    if (shape.size() == 4) {
        return strided(data, {shape[0], shape[1], shape[2], shape[3]},
                       {shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1});
    }
    const Index width = shape[2] / heads;
    return strided(data, {shape[0], heads, shape[1], width}, {shape[1] * shape[2], width, shape[2], 1});
}
template <class T>
StridedView<const T> by_heads(const OnnxTensor<T>& x, Index heads) {
    return by_heads(x.shape, x.values.data(), heads);
}
template <class T>
StridedView<T> by_heads(OnnxTensor<T>& x, Index heads) {
    return by_heads(x.shape, x.values.data(), heads);
}

/// A tensor of 1 to 4 dimensions that broadcasts: those that it lacks in front become 1.
template <class T>
StridedView<const T> broadcast(const OnnxTensor<T>& x) {
    std::array<Index, 4> sizes{1, 1, 1, 1}, strides{0, 0, 0, 0};
    Index stride = 1;
    for (std::size_t i = x.shape.size(), to = 4; i-- > 0;) {
        sizes[--to] = x.shape[i];
        strides[to] = stride;
        stride *= x.shape[i];
    }
    return strided(x.values.data(), sizes, strides);
}

/// Sequences [first, first + count) of a view; one that serves all sequences still does.
template <class T>
StridedView<T> sequences_of(StridedView<T> view, Index first, Index count) {
    if (view.sequences == 1) return view;
    view.data += first * view.sequence_stride;
    view.sequences = count;
    return view;
}

}  // namespace attend::test

#pragma once
/// \file
/// Random operands of a shape, and room for the output.

#include <attend/attend.hpp>

namespace attend::bench {

/// Uniform with mean 0 and variance 1.
template <class Matrix>
Matrix random_matrix(Index rows, Index columns, Random& random) {
    Matrix x(rows, columns);
    for (auto& value : x.reshaped()) value = static_cast<typename Matrix::Scalar>(3.4641 * (random.uniform() - 0.5));
    return x;
}

/// A tensor (sequences, heads, rows, columns) in one of the layouts that users have.
template <class T, int order>
struct Tensor {
    using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, order>;

    Matrix storage;
    StridedView<T> view;

    auto head(Index sequence, Index head) const {
        return Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>(at(sequence, head), view.rows, view.columns, outer());
    }
    auto head(Index sequence, Index head) {
        return Eigen::Map<Matrix, 0, Eigen::OuterStride<>>(at(sequence, head), view.rows, view.columns, outer());
    }

private:
    T* at(Index sequence, Index head) const {
        return view.data + sequence * view.sequence_stride + head * view.head_stride;
    }
    Eigen::OuterStride<> outer() const { return order == Eigen::RowMajor ? view.row_stride : view.column_stride; }
};

/// One dimension after the other: how PyTorch and ONNX Runtime take their operands.
struct Contiguous {
    static constexpr int order = Eigen::RowMajor;

    template <class T>
    static auto tensor(Index sequences, Index heads, Index rows, Index columns, Random& random) {
        Tensor<T, order> x{random_matrix<RowMatrix<T>>(sequences * heads * rows, columns, random), {}};
        x.view = strided(x.storage.data(), {sequences, heads, rows, columns},
                         {heads * rows * columns, rows * columns, columns, 1});
        return x;
    }
};

/// The heads of one sequence side by side in a matrix, as a linear layer leaves them.
template <int storage_order>
struct SideBySide {
    static constexpr int order = storage_order;

    template <class T>
    static auto tensor(Index, Index heads, Index rows, Index columns, Random& random) {
        using Matrix = typename Tensor<T, order>::Matrix;
        Tensor<T, order> x{random_matrix<Matrix>(rows, heads * columns, random), {}};
        x.view = attend::heads(x.storage, heads);
        return x;
    }
};

/// What an attention call needs, its workspace included.
template <class T, class Layout = Contiguous>
struct Operands {
    using Scalar = T;

    Tensor<T, Layout::order> q, k, v, out;
    int threads;
    Workspace workspace;

    explicit Operands(const Shape& shape, int threads_ = 1) : Operands(shape, threads_, Random(1)) {}

    template <class Attention>
    void run(const Attention& attention) {
        attention(q.view, k.view, v.view, out.view, {.workspace = &workspace, .executor = openmp(threads)});
    }

private:
    Operands(const Shape& s, int threads_, Random random)
        : q(Layout::template tensor<T>(s.sequences, s.heads, s.queries, s.d_q, random)),
          k(Layout::template tensor<T>(s.sequences, s.kv_heads, s.keys, s.d_k, random)),
          v(Layout::template tensor<T>(s.sequences, s.kv_heads, s.keys, s.d_v, random)),
          out(Layout::template tensor<T>(s.sequences, s.heads, s.queries, s.d_v, random)),
          threads(threads_) {}
};

}  // namespace attend::bench

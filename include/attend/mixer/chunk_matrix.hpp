#pragma once
/// \file
/// The matrices of a chunk of tokens, and their products.

#include <attend/core/row_lanes.hpp>
#include <attend/core/types.hpp>
#include <attend/core/workspace.hpp>
#include <attend/engine/packets.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A matrix in scratch memory whose rows are whole packets: `lanes` long, 0 behind its columns.
template <class C>
struct ChunkMatrix {
    C* data = nullptr;
    Index rows = 0, columns = 0, lanes = 0;

    static ChunkMatrix in(Arena& arena, Index rows, Index columns) {
        const Index lanes = simd::padded<C>(columns);
        return {arena.take<C>(rows * lanes), rows, columns, lanes};
    }
    /// The rows from one on, as many as are named.
    ChunkMatrix some(Index begin, Index count) const { return {data + begin * lanes, count, columns, lanes}; }

    auto all() const {
        return Eigen::Map<Eigen::Array<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(data, rows, lanes);
    }
    auto row(Index i) const { return Eigen::Map<Eigen::Array<C, 1, Eigen::Dynamic>>(data + i * lanes, lanes); }
    C& operator()(Index i, Index j) const { return data[i * lanes + j]; }

    /// Takes over a matrix of that size or smaller; the rest becomes 0.
    void set(const auto& x) const {
        all().setZero();
        all().topLeftCorner(x.rows(), x.cols()) = x.array();
    }
    void set_transposed(const ChunkMatrix& x) const {
        rows_to_lanes<C>(x.data, x.lanes, x.rows, x.columns, C(1), data, lanes);
    }

    StridedMatrix<C> plain() const { return {data, lanes, 1}; }
    StridedMatrix<C> transposed() const { return {data, 1, lanes}; }
};

/// y = a · b, or with ones by lane y += a · b, for an a of `depth` columns. Sums go along the depth in order, so that
/// the bits of a row depend on nothing but the row and b.
template <class C>
void chunk_product(const ChunkMatrix<C>& y, const StridedMatrix<C>& a, Index depth, const ChunkMatrix<C>& b,
                   const C* ones = nullptr, ReadAhead* ahead = nullptr) {
    multiply<C>(a, y.rows, depth, b.data, b.lanes, b.lanes, y.data, y.lanes, {.factor = ones, .ahead = ahead});
}

}  // namespace attend::detail

#pragma once
/// \file
/// Parameters that stand in memory of somebody else's: they are read there, and what is added to their gradients stands
/// here, so that each thread may have a sum of its own.

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// One number for all heads, or one a head.
struct GivenNumbers {
    const double* values = nullptr;
    Index count = 0;
    Eigen::VectorXd sums = {};  ///< as many, where gradients are wanted

    static void parameters(auto& self, auto&& visit) { visit("", self.sums); }
    const double& at(Index head) const { return values[count == 1 ? 0 : head]; }
    double& sum_at(Index head) { return sums[count == 1 ? 0 : head]; }
};

/// A matrix whose rows follow each other: constant, what is given; else the sums.
template <class T>
struct GivenMatrix {
    const T* values = nullptr;
    Index row_count = 0, column_count = 0;
    RowMatrix<T> sums = {};  ///< of the same shape, where gradients are wanted

    static void parameters(auto& self, auto&& visit) { visit("", self.sums); }
    Index rows() const { return row_count; }
    Index cols() const { return column_count; }
    const T& operator()(Index row, Index column) const { return values[row * column_count + column]; }
    T& operator()(Index row, Index column) { return sums(row, column); }
};

}  // namespace attend::detail

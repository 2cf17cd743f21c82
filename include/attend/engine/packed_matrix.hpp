#pragma once
/// \file
/// A matrix packed once for products with many others.

#include <algorithm>

#include <attend/engine/matrix_product.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// depth × columns, packed for `add_product`. Takes as much memory again, and O(depth · columns) to make.
template <class T>
class PackedMatrix {
public:
    PackedMatrix() = default;
    template <class B>
    explicit PackedMatrix(const B& b) : depth_(b.rows()), columns_(b.cols()) {
        static_assert(std::is_same_v<T, typename B::Scalar> && std::is_same_v<T, Compute<T>>);
        packed_.resize(depth_ * simd::padded<T>(columns_));
        if (packed_.size() == 0) return;
        const Index row = B::IsRowMajor ? b.outerStride() : b.innerStride(),
                    column = B::IsRowMajor ? b.innerStride() : b.outerStride();
        for (Index l = 0; l < columns_; l += wide) {
            const Panel<T> to = panel(l);
            lines_to_lanes<T>({b.data() + l * column, to.columns, column, row}, depth_, packed_.data() + l * depth_,
                              to.lanes);
        }
    }

    Index rows() const { return depth_; }
    Index cols() const { return columns_; }
    /// The panel that begins at column l.
    Panel<T> panel(Index l) const {
        const Index columns = std::min(wide, columns_ - l);
        return {packed_.data() + l * depth_, depth_, simd::padded<T>(columns), columns};
    }

    static constexpr Index wide = Panel<T>::wide;

private:
    ColumnVector<T> packed_;
    Index depth_ = 0, columns_ = 0;
};

/// The same of an a of which rows stand in memory as such, and threads as in `add_product`. 14 KB of stack.
template <class Y, class A, class T>
void add_product(Y& y, const A& a, const PackedMatrix<T>& b, const ExecutorRef& executor,
                 const ProductStart<T>& start = {}) {
    static_assert(A::IsRowMajor && A::InnerStrideAtCompileTime == 1);
    if (y.size() == 0 || a.cols() == 0) return start.write(y);
    const Index row = Y::IsRowMajor ? y.outerStride() : y.innerStride(),
                column = Y::IsRowMajor ? y.innerStride() : y.outerStride();
    const ProductSide<T> rows{a.data(), a.rows(), a.outerStride(), 1};
    const ProductSums<T> sums(y.data(), row, column, start);
    share_panels(rows, b.cols(), a.cols(), executor, [&](const ProductSide<T>& some, Index first, Index l) {
        add_panel(some, b.panel(l), sums.from(first, l));
    });
}

}  // namespace attend::detail

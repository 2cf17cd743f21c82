#pragma once
/// \file
/// The rows or columns of a matrix, one after the other, as contiguous scalars of the computing type.

#include <algorithm>
#include <span>
#include <type_traits>

#include <attend/core/view.hpp>

namespace attend {

/// Which lines of a matrix belong together. Rows are the default everywhere; a column vector holds rows of one scalar,
/// so its softmax is `softmax(x, columnwise)`.
enum class Along { rows, columns };
inline constexpr std::integral_constant<Along, Along::rows> rowwise;
inline constexpr std::integral_constant<Along, Along::columns> columnwise;

namespace detail {

/// Gives the lines of a matrix like X, of scalars T, in order: straight from memory where that is contiguous computing
/// scalars, otherwise through a copy of a few lines, which is written back unless T is const.
/// The copy of a matrix bounded at compile time stands on the stack, any other on the heap.
template <class T, class X>
class Lines {
public:
    using Scalar = Compute<std::remove_const_t<T>>;
    using Line = std::span<std::conditional_t<std::is_const_v<T>, const Scalar, Scalar>>;

    Lines(const StridedView<T>& view, Along along)
        : data_(view.data),
          count_(along == Along::rows ? view.rows : view.columns),
          size_(along == Along::rows ? view.columns : view.rows),
          step_(along == Along::rows ? view.row_stride : view.column_stride),
          stride_(along == Along::rows ? view.column_stride : view.row_stride) {
        if (!in_place()) copies_.resize(std::min(count_, most_copies) * size_);
    }
    Lines(const Lines&) = delete;
    Lines& operator=(const Lines&) = delete;
    ~Lines() { write_back(); }

    Index count() const { return count_; }

    /// Line i: lines must be asked for in order, and asking for the next may end the life of this one.
    Line operator[](Index i) {
        if (size_ == 0) return {};  // there may be no memory to point into
        const auto size = static_cast<std::size_t>(size_);
        if constexpr (std::is_same_v<std::remove_const_t<T>, Scalar>) {
            if (in_place()) return {data_ + i * step_, size};
        }
        if (i == end_) copy();
        return {copies_.data() + (i - begin_) * size_, size};
    }

private:
    // Lines that run across memory share its cache lines (of 64 bytes) with their neighbours: copy these together.
    static constexpr Index most_copies = 64 / sizeof(Scalar);
    static constexpr int rows = X::MaxRowsAtCompileTime, columns = X::MaxColsAtCompileTime;
    static constexpr bool bounded = rows != Eigen::Dynamic && columns != Eigen::Dynamic;
    static constexpr int capacity =
        bounded ? std::min(rows * columns, static_cast<int>(most_copies) * std::max(rows, columns)) : Eigen::Dynamic;

    bool in_place() const { return std::is_same_v<std::remove_const_t<T>, Scalar> && (stride_ == 1 || size_ <= 1); }

    template <class F>
    void for_each_copied(F f) {
        for (Index j = 0; j < size_; ++j) {
            for (Index i = begin_; i < end_; ++i) f(data_[i * step_ + j * stride_], copies_[(i - begin_) * size_ + j]);
        }
    }
    void copy() {
        write_back();
        begin_ = end_;
        end_ = std::min(count_, end_ + most_copies);
        for_each_copied([](const T& from, Scalar& to) { to = static_cast<Scalar>(from); });
    }
    void write_back() {
        if constexpr (!std::is_const_v<T>) {
            for_each_copied([](T& to, const Scalar& from) { to = static_cast<T>(from); });
        }
    }

    T* data_;
    Index count_, size_, step_, stride_;
    Index begin_ = 0, end_ = 0;  // which lines are copied
    Eigen::Array<Scalar, Eigen::Dynamic, 1, Eigen::ColMajor, capacity, 1> copies_;
};

}  // namespace detail
}  // namespace attend

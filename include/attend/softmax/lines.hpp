#pragma once
/// \file
/// The rows or columns of a matrix, one after the other, as contiguous scalars of the computing type.

#include <algorithm>
#include <span>
#include <type_traits>

#include <attend/core/transposed.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI {

/// Which lines of a matrix belong together, `rows` or `columns`. Rows are the default everywhere; a column vector holds
/// rows of one scalar, so its softmax is `softmax(x, columnwise)`.
enum class Along { rows, columns };
/// To be given to a call: `softmax(x, columnwise)`.
/// @{
inline constexpr std::integral_constant<Along, Along::rows> rowwise;
inline constexpr std::integral_constant<Along, Along::columns> columnwise;
/// @}

namespace detail {

/// Gives the lines of a matrix like X, of scalars T, in order: straight from memory where that is contiguous computing
/// scalars, otherwise through a copy of a few lines, which is written back unless T is const.
/// The copy stands on the stack, unless a line alone takes more than 64 KB there.
template <class T, class X>
class Lines {
public:
    using Scalar = Compute<std::remove_const_t<T>>;
    using Line = std::span<std::conditional_t<std::is_const_v<T>, const Scalar, Scalar>>;

    Lines(const StridedView<T>& view, Along along)
        : data_(view.data),
          source_(view.data),
          count_(along == Along::rows ? view.rows : view.columns),
          size_(along == Along::rows ? view.columns : view.rows),
          step_(along == Along::rows ? view.row_stride : view.column_stride),
          stride_(along == Along::rows ? view.column_stride : view.row_stride),
          source_step_(step_),
          source_stride_(stride_) {
        if (in_place() || size_ == 0) return;
        if (size_ > capacity) {
            heap_.resize(std::min(count_, most_copies) * size_);
            copies_ = heap_.data();
        } else {
            at_once_ = std::min(most_copies, capacity / size_);
        }
    }
    Lines(const Lines&) = delete;
    Lines& operator=(const Lines&) = delete;
    ~Lines() { write_back(); }

    /// Copies will be made of the lines of another matrix of that shape, and written back to this one.
    void copy_from(const StridedView<const std::remove_const_t<T>>& view, Along along) {
        source_ = view.data;
        source_step_ = along == Along::rows ? view.row_stride : view.column_stride;
        source_stride_ = along == Along::rows ? view.column_stride : view.row_stride;
    }

    Index count() const { return count_; }
    /// Whether lines are where they were given, not copies.
    bool in_place() const { return std::is_same_v<std::remove_const_t<T>, Scalar> && (stride_ == 1 || size_ <= 1); }

    /// Line i: lines must be asked for in order, and asking for the next may end the life of this one.
    Line operator[](Index i) {
        if (size_ == 0) return {};  // there may be no memory to point into
        const auto size = static_cast<std::size_t>(size_);
        if constexpr (std::is_same_v<std::remove_const_t<T>, Scalar>) {
            if (in_place()) return {data_ + i * step_, size};
        }
        if (i == end_) copy();
        return {copies_ + (i - begin_) * size_, size};
    }

private:
    // Lines that run across memory share its cache lines (of 64 bytes) with their neighbours: copy these together.
    static constexpr Index most_copies = 64 / sizeof(Scalar);
    static constexpr int rows = X::MaxRowsAtCompileTime, columns = X::MaxColsAtCompileTime;
    static constexpr bool bounded = rows != Eigen::Dynamic && columns != Eigen::Dynamic;
    static constexpr Index most_on_stack = 64 * 1024 / sizeof(Scalar);
    static constexpr Index capacity =
        bounded ? std::clamp<Index>(std::min<Index>(rows * columns, std::max(rows, columns) * most_copies), 1,
                                    most_on_stack)
                : most_on_stack;

    static constexpr bool transposes = std::is_same_v<std::remove_const_t<T>, Scalar> && simd::width<Scalar> > 1;

    void copy() {
        write_back();
        begin_ = end_;
        end_ = std::min(count_, end_ + at_once_);
        const auto* const from = source_ + begin_ * source_step_;
        const Index lines = end_ - begin_;
        if constexpr (transposes) {
            if (source_step_ == 1) return transpose_into(from, source_stride_, size_, lines, copies_, size_);
        }
        for (Index j = 0; j < size_; ++j) {
            for (Index i = 0; i < lines; ++i)
                copies_[i * size_ + j] = static_cast<Scalar>(from[i * source_step_ + j * source_stride_]);
        }
    }
    void write_back() {
        if constexpr (!std::is_const_v<T>) {
            T* const to = data_ + begin_ * step_;
            const Index lines = end_ - begin_;
            if constexpr (transposes) {
                if (step_ == 1) return transpose_into(copies_, size_, lines, size_, to, stride_);
            }
            for (Index j = 0; j < size_; ++j) {
                for (Index i = 0; i < lines; ++i) to[i * step_ + j * stride_] = static_cast<T>(copies_[i * size_ + j]);
            }
        }
    }

    T* data_;
    const std::remove_const_t<T>* source_;
    Index count_, size_, step_, stride_, source_step_, source_stride_;
    Index begin_ = 0, end_ = 0;  // which lines are copied
    Index at_once_ = most_copies;
    alignas(64) Scalar stack_[static_cast<std::size_t>(capacity)];
    Eigen::Array<Scalar, Eigen::Dynamic, 1> heap_;
    Scalar* copies_ = stack_;
};

}  // namespace detail
}  // namespace attend

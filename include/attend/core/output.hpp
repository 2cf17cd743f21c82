#pragma once
/// \file
/// Where a call writes: any writable Eigen object or view, resized where it is empty and can be.

#include <string_view>

#include <attend/core/overlap.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI {

/// How the heads of a plain matrix stand: `side_by_side`, as in every operand, or `below_each_other`, as score matrices
/// do.
enum class HeadBlocks { side_by_side, below_each_other };

/// An optional output of a call. Built implicitly from a writable dense Eigen object, a temporary map or block of one,
/// or a `StridedView`; a default-constructed one means "not asked for" and costs nothing. An Eigen object of size 0 is
/// resized to what the call writes; any other must have exactly that shape. No two of its elements may be one. To build
/// one is O(1).
template <class T>
class Output {
public:
    Output() = default;
    /// Borrows what it is given. A temporary matrix, and what has another scalar, is refused by the compiler.
    /// @{
    Output(const StridedView<T>& view) : view_(view), wanted_(true) {}
    template <detail::WritableMemory X>
        requires std::is_same_v<typename std::remove_cvref_t<X>::Scalar, T>
    Output(X&& x) : view_(detail::view_of(x.data(), x)), wanted_(true) {
        static_assert(!detail::OwnsMemory<X> || std::is_lvalue_reference_v<X>,
                      "attend: this output is a temporary matrix, gone with what is written to it: give it a name");
        using Matrix = std::remove_cvref_t<X>;
        if constexpr (std::is_base_of_v<Eigen::PlainObjectBase<Matrix>, Matrix> &&
                      Matrix::SizeAtCompileTime == Eigen::Dynamic) {
            object_ = &x;
            fixed_ = {Matrix::RowsAtCompileTime, Matrix::ColsAtCompileTime};
            resize_ = [](void* object, Index rows, Index columns) {
                auto& matrix = *static_cast<Matrix*>(object);
                matrix.resize(rows, columns);
                matrix.setZero();
                return detail::view_of(matrix.data(), matrix);
            };
        }
    }
    /// @}

    // What cannot be written to is refused in words.
    template <detail::Dense X>
        requires(!(detail::WritableMemory<X> && std::is_same_v<typename std::remove_cvref_t<X>::Scalar, T>))
    Output(X&&) {
        constexpr bool one = std::is_same_v<typename std::remove_cvref_t<X>::Scalar, T>;
        static_assert(
            one,
            "attend: an output must have the scalar type of the call: out and gradients that of the operands, "
            "lse and weights float where they are 16-bit numbers");
        static_assert(!one || detail::WritableMemory<X>,
                      "attend: an output is written to: it must be memory that is not const, no expression");
    }
    template <class Matrix>
    Output(const detail::OwnedHeads<Matrix>&) {
        static_assert(sizeof(Matrix) == 0,
                      "attend: heads(x, n) of a temporary x is no output, it is gone with what is written to it: give "
                      "x a name");
    }

    explicit operator bool() const { return wanted_; }

    /// Throws unless the output is, or can be resized to, `sequences` × `heads` blocks of `rows` × `columns`.
    void check(std::string_view name, Index sequences, Index heads, Index rows, Index columns,
               HeadBlocks blocks = HeadBlocks::side_by_side) const {
        if (!wanted_) return;
        if (view_.data == nullptr && !resizable() && !detail::is_empty(view_)) [[unlikely]]
            detail::refuse(name, " (", detail::shape_words(view_.sequences, view_.heads, view_.rows, view_.columns),
                           ") has no memory: its pointer is null");
        if (detail::may_repeat(view_)) [[unlikely]]
            detail::refuse(name, " (", detail::shape_words(view_.sequences, view_.heads, view_.rows, view_.columns),
                           ") overlaps itself: by its strides two of its elements are one");
        if (is_split()) {
            if (view_.sequences != sequences || view_.heads != heads || view_.rows != rows || view_.columns != columns)
                detail::refuse(name, " (", detail::shape_words(view_.sequences, view_.heads, view_.rows, view_.columns),
                               ") must be ", detail::shape_words(sequences, heads, rows, columns));
            return;
        }
        const auto [all_rows, all_columns] = extent(sequences, heads, rows, columns, blocks);
        const bool fits = resizable() ? (fixed_.rows == Eigen::Dynamic || fixed_.rows == all_rows) &&
                                            (fixed_.columns == Eigen::Dynamic || fixed_.columns == all_columns)
                                      : view_.rows == all_rows && view_.columns == all_columns;
        if (!fits)
            detail::refuse(detail::named(name, view_.rows, view_.columns), " must be ", all_rows, "x", all_columns,
                           resize_ != nullptr ? ", or empty to be resized" : "");
    }

    /// The output as a view of those blocks, resized first if it is empty. `check` must have passed.
    StridedView<T> as(Index sequences, Index heads, Index rows, Index columns,
                      HeadBlocks blocks = HeadBlocks::side_by_side) {
        if (!wanted_) return {};
        if (resizable()) {
            const auto [all_rows, all_columns] = extent(sequences, heads, rows, columns, blocks);
            view_ = resize_(object_, all_rows, all_columns);
        }
        if (is_split()) return view_;
        const Index head_stride =
            blocks == HeadBlocks::side_by_side ? columns * view_.column_stride : sequences * rows * view_.row_stride;
        return {view_.data,       sequences,          heads, rows, columns, rows * view_.row_stride, head_stride,
                view_.row_stride, view_.column_stride};
    }

    /// The memory as it was given, for the check against aliasing.
    const StridedView<T>& given() const { return view_; }
    /// The matrix that may be resized; none for other outputs. Two outputs with one would write to freed memory.
    const void* object() const { return object_; }

private:
    struct Extent {
        Index rows, columns;
    };
    static Extent extent(Index sequences, Index heads, Index rows, Index columns, HeadBlocks blocks) {
        return blocks == HeadBlocks::side_by_side ? Extent{sequences * rows, heads * columns}
                                                  : Extent{heads * sequences * rows, columns};
    }
    /// Whether it says itself where sequences and heads stand, as an empty batch does too.
    bool is_split() const { return view_.sequences != 1 || view_.heads != 1; }
    bool resizable() const { return resize_ != nullptr && view_.rows * view_.columns == 0; }

    StridedView<T> view_;
    void* object_ = nullptr;
    StridedView<T> (*resize_)(void*, Index, Index) = nullptr;
    Extent fixed_{Eigen::Dynamic, Eigen::Dynamic};  ///< what a resize cannot change
    bool wanted_ = false;
};

}  // namespace attend

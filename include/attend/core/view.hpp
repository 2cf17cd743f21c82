#pragma once
/// \file
/// Strided views: how every operand, whatever it was, reaches a kernel. No layout is ever copied to get one.

#include <array>
#include <limits>
#include <type_traits>
#include <utility>

#include <attend/core/errors.hpp>

namespace attend::inline ATTEND_ABI {

/// Memory of anybody's, read as sequences × heads × rows × columns through four strides, counted in elements.
template <class T>
struct StridedView {
    T* data = nullptr;                                      ///< the first element
    Index sequences = 1, heads = 1, rows = 0, columns = 0;  ///< rows of a sequence, columns of a head
    Index sequence_stride = 0, head_stride = 0, row_stride = 0, column_stride = 1;  ///< to the next, in elements

    /// The same memory, to be read.
    operator StridedView<const T>() const
        requires(!std::is_const_v<T>)
    {
        return {data, sequences, heads, rows, columns, sequence_stride, head_stride, row_stride, column_stride};
    }
};

/// A view of foreign memory, such as a NumPy, PyTorch or ONNX tensor: `strided(p, {batch, heads, rows, columns}, {…})`.
/// Strides count elements. The memory is not copied and must outlive the call that uses it. Throws where a size or a
/// stride is negative, or where they reach beyond any memory. O(1).
template <class T>
StridedView<T> strided(T* data, const std::array<Index, 4>& sizes, const std::array<Index, 4>& strides) {
    for (std::size_t i = 0; i < 4; ++i) {
        detail::require(sizes[i] >= 0 && strides[i] >= 0, "strided: sizes {", sizes[0], ", ", sizes[1], ", ", sizes[2],
                        ", ", sizes[3], "} and strides {", strides[0], ", ", strides[1], ", ", strides[2], ", ",
                        strides[3], "} must not be negative");
    }
    Index last = 0;  // the farthest element: of memory that no machine has, offsets would overflow
    bool fits = sizes[0] > 0 && sizes[1] > 0 && sizes[2] > 0 && sizes[3] > 0;
    const bool empty = !fits;
    constexpr Index most = std::numeric_limits<Index>::max() / static_cast<Index>(sizeof(T));
    for (std::size_t i = 0; i < 4 && fits; ++i) {
        fits = strides[i] == 0 || sizes[i] - 1 <= (most - 1 - last) / strides[i];
        if (fits) last += (sizes[i] - 1) * strides[i];
    }
    detail::require(empty || fits, "strided: sizes {", sizes[0], ", ", sizes[1], ", ", sizes[2], ", ", sizes[3],
                    "} and strides {", strides[0], ", ", strides[1], ", ", strides[2], ", ", strides[3],
                    "} reach beyond any memory");
    return {data, sizes[0], sizes[1], sizes[2], sizes[3], strides[0], strides[1], strides[2], strides[3]};
}

namespace detail {

template <class X>
struct IsStridedView : std::false_type {};
template <class T>
struct IsStridedView<StridedView<T>> : std::true_type {};

template <class Derived>
void as_dense(const Eigen::DenseBase<Derived>&);

/// A dense Eigen expression, or what derives from one, as `x.head(3)` does.
template <class X>
concept Dense = requires(const std::remove_cvref_t<X>& x) { as_dense(x); };

/// A dense Eigen expression that is memory: it has a pointer and strides.
template <class X>
concept DenseMemory = Dense<X> && (std::remove_cvref_t<X>::Flags & Eigen::DirectAccessBit) != 0;

/// One whose coefficients may be written: an lvalue, or a temporary map or block of one.
template <class X>
concept WritableMemory = DenseMemory<X> && !std::is_const_v<std::remove_reference_t<X>> &&
                         (std::remove_cvref_t<X>::Flags & Eigen::LvalueBit) != 0;

template <class Derived>
void as_plain(const Eigen::PlainObjectBase<Derived>&);

/// A dense Eigen object that owns its memory, which goes with it: a matrix or an array, and no map or block.
template <class X>
concept OwnsMemory = requires(const std::remove_cvref_t<X>& x) { as_plain(x); };

template <class T, class X>
StridedView<T> view_of(T* data, const X& x) {
    constexpr bool row_major = X::IsRowMajor;
    const Index outer = x.outerStride(), inner = x.innerStride();
    return {data, 1, 1, x.rows(), x.cols(), 0, 0, row_major ? outer : inner, row_major ? inner : outer};
}

/// The columns as heads side by side, which `count` must divide.
template <class T, class X>
StridedView<T> view_of_heads(T* data, const X& x, Index count) {
    auto view = view_of(data, x);
    view.heads = count;
    view.columns = x.cols() / count;
    view.head_stride = view.columns * view.column_stride;
    return view;
}

/// The heads of a matrix that was a temporary and lives on in here, since a view would outlive it. An operand, and as
/// long as it has a name what a view of it can be taken from.
template <class Matrix>
class OwnedHeads {
public:
    using Scalar = typename Matrix::Scalar;

    template <class Given>
    OwnedHeads(Given&& x, Index count) : x_(std::forward<Given>(x)), count_(count) {}

    operator StridedView<Scalar>() & { return view_of_heads(x_.data(), x_, count_); }
    operator StridedView<const Scalar>() const& { return view_of_heads(x_.data(), x_, count_); }
    template <class T>
    operator StridedView<T>() && {
        static_assert(sizeof(T) == 0,
                      "attend: a view of heads(x, n) would outlive x, which is a temporary here: give it a name");
        return {};
    }

private:
    Matrix x_;
    Index count_;
};

template <class X>
struct IsOwnedHeads : std::false_type {};
template <class Matrix>
struct IsOwnedHeads<OwnedHeads<Matrix>> : std::true_type {};

/// Something to be changed in place, as a view: a writable matrix, or a strided view.
template <WritableMemory X>
auto in_place(X&& x) {
    return view_of(x.data(), x);
}
template <class T>
StridedView<T> in_place(const StridedView<T>& view) {
    return view;
}
template <class Matrix>
StridedView<typename Matrix::Scalar> in_place(OwnedHeads<Matrix>& heads) {
    return heads;
}

/// An operand of a call as a read-only view; evaluates expressions that are not memory (`2 * q`) into a matrix of its
/// own.
template <class X>
class Operand;

template <DenseMemory X>
class Operand<X> {
public:
    using Scalar = typename X::Scalar;
    static constexpr int rows_at_compile_time = X::RowsAtCompileTime;
    static constexpr int columns_at_compile_time = X::ColsAtCompileTime;
    static constexpr bool row_major = X::IsRowMajor;

    explicit Operand(const X& x) : x_(x) {}
    StridedView<const Scalar> view() const { return view_of<const Scalar>(x_.data(), x_); }

private:
    const X& x_;
};

template <Dense X>
    requires(!DenseMemory<X>)
class Operand<X> : public Operand<typename X::PlainObject> {
public:
    explicit Operand(const X& x) : Operand(typename X::PlainObject(x)) {}
    Operand(const Operand&) = delete;

private:
    explicit Operand(typename X::PlainObject&& value)
        : Operand<typename X::PlainObject>(value_), value_(std::move(value)) {}
    typename X::PlainObject value_;
};

template <class T>
class Operand<StridedView<T>> {
public:
    using Scalar = std::remove_const_t<T>;
    static constexpr int rows_at_compile_time = Eigen::Dynamic;
    static constexpr int columns_at_compile_time = Eigen::Dynamic;
    static constexpr bool row_major = true;

    explicit Operand(const StridedView<T>& view) : view_(view) {}
    StridedView<const Scalar> view() const { return view_; }

private:
    const StridedView<T>& view_;
};

template <class Matrix>
class Operand<OwnedHeads<Matrix>> : public Operand<StridedView<const typename Matrix::Scalar>> {
public:
    explicit Operand(const OwnedHeads<Matrix>& heads) : Operand(View(heads)) {}
    Operand(const Operand&) = delete;

private:
    using View = StridedView<const typename Matrix::Scalar>;
    explicit Operand(const View& view) : Operand<View>(view_), view_(view) {}
    View view_;
};

template <class X>
Operand(const X&) -> Operand<X>;

/// What may stand where a query, key or value is expected.
template <class X>
concept OperandLike =
    Dense<X> || IsStridedView<std::remove_cvref_t<X>>::value || IsOwnedHeads<std::remove_cvref_t<X>>::value;

template <class... X>
concept AllOperands = (OperandLike<X> && ...);

template <class X>
using ScalarOf = typename Operand<std::remove_cvref_t<X>>::Scalar;

/// That of the first that is an operand; float where none is.
template <class X, class... Others>
struct FirstScalar : FirstScalar<Others..., Eigen::MatrixXf> {};
template <OperandLike X, class... Others>
struct FirstScalar<X, Others...> {
    using Scalar = ScalarOf<X>;
};

}  // namespace detail

/// The columns of `x` as `count` heads side by side: head h is columns [h·d, (h+1)·d), d = columns / count. No copy:
/// a view, of inputs and of outputs, which `x` must outlive. A temporary matrix would not: the result, an input, holds
/// it, moved or, where it is const as what `(2 * x).eval()` returns, copied. Throws unless `count` divides the columns.
template <detail::DenseMemory X>
auto heads(X&& x, Index count) {
    detail::require(count > 0 && x.cols() % count == 0, "heads: ", count, " heads do not divide the ", x.cols(),
                    " columns of x (", x.rows(), "x", x.cols(), ")");
    if constexpr (detail::OwnsMemory<X> && !std::is_lvalue_reference_v<X>) {
        return detail::OwnedHeads<std::remove_cvref_t<X>>(std::forward<X>(x), count);
    } else {
        return detail::view_of_heads(x.data(), x, count);
    }
}
template <detail::Dense X>
    requires(!detail::DenseMemory<X>)
auto heads(X&&, Index) {
    static_assert(detail::DenseMemory<X>,
                  "attend: heads(x, n) views memory: evaluate the expression first, heads(x.eval(), n)");
}

namespace detail {

/// One head of one sequence of an operand: rows × columns, any strides.
template <class X>
using Slice = Eigen::Map<std::conditional_t<std::is_const_v<X>, const RowMatrix<std::remove_const_t<X>>, RowMatrix<X>>,
                         Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;

/// `rows` rows of a head from the element `first` on. An empty operand may have no memory at all: no step leads on
/// there.
template <class T>
Slice<T> rows_of(const StridedView<T>& view, Index first, Index head, Index rows) {
    if (view.data == nullptr) return Slice<T>(nullptr, rows, view.columns, {0, 1});
    return Slice<T>(view.data + first + head * view.head_stride, rows, view.columns,
                    {view.row_stride, view.column_stride});
}

}  // namespace detail
}  // namespace attend

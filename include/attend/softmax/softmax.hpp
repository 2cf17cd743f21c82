#pragma once
/// \file
/// Softmax, log-softmax and log-sum-exp over the rows or the columns of any dense expression, with their gradients.

#include <span>
#include <type_traits>

#include <attend/core/concepts.hpp>
#include <attend/core/output.hpp>
#include <attend/softmax/row.hpp>

namespace attend {

/// Which lines of a matrix are one distribution each. Rows are the default everywhere; a column vector holds rows of one
/// scalar, so its softmax is `softmax(x, columnwise)`.
enum class Along { rows, columns };
inline constexpr std::integral_constant<Along, Along::rows> rowwise;
inline constexpr std::integral_constant<Along, Along::columns> columnwise;

namespace detail {

template <class X>
concept RealDense = Dense<X> && !Eigen::NumTraits<typename std::remove_cvref_t<X>::Scalar>::IsInteger &&
                    !Eigen::NumTraits<typename std::remove_cvref_t<X>::Scalar>::IsComplex;

/// The rows or the columns of a matrix.
template <class T>
class Lines {
public:
    Lines(const StridedView<T>& view, Along along) : view_(view), along_(along) {}

    Index count() const { return along_ == Along::rows ? view_.rows : view_.columns; }
    StridedRow<T> operator[](Index i) const {
        if (along_ == Along::rows) return {view_.data + i * view_.row_stride, view_.columns, view_.column_stride};
        return {view_.data + i * view_.column_stride, view_.rows, view_.row_stride};
    }

private:
    StridedView<T> view_;
    Along along_;
};

/// Copies x into out and calls `f(line, i)` for each line of it.
template <class X, class Out, class F>
void transform_lines(const X& x, Out& out, Along along, F f) {
    using T = typename Out::Scalar;
    Output<T> output(out);
    output.check("out", 1, 1, x.rows(), x.cols());
    const Lines<T> lines(output.as(1, 1, x.rows(), x.cols()), along);
    out = x.template cast<T>();
    for (Index i = 0; i < lines.count(); ++i) f(lines[i], i);
}

/// What softmax and log-softmax have in common. `Self::forward` works on a row in place; `Self::gradient` turns a row of
/// gradients of the outputs into gradients of the inputs, in place, given the outputs.
template <class Self>
struct LineFunction {
    /// Writes to `out`, which may be x itself; an empty `out` is resized.
    template <RealDense X, WritableMemory Out>
    void operator()(const X& x, Out&& out, Along along = rowwise) const {
        transform_lines(x, out, along, [](const auto& line, Index) { Self::forward(line); });
    }
    template <RealDense X>
    auto operator()(const X& x, Along along = rowwise) const {
        typename X::PlainObject out;
        (*this)(x, out, along);
        return out;
    }
    /// The gradient of x, given the result y and its gradient.
    template <RealDense Y, RealDense DY>
    auto backward(const Y& y, const DY& dy, Along along = rowwise) const {
        require(y.rows() == dy.rows() && y.cols() == dy.cols(), Self::name, ".backward: ", named(Self::result, y.rows(), y.cols()),
                " and ", named(words("d", Self::result), dy.rows(), dy.cols()), " must have the same shape");
        const Operand<Y> result(y);
        const Lines lines(result.view(), along);
        typename DY::PlainObject dx;
        transform_lines(dy, dx, along, [&](const auto& line, Index i) { Self::gradient(lines[i], line); });
        return dx;
    }
};

}  // namespace detail

/// p_j = e^{x_j} / Σ e^x of each row: `softmax(x)`, `softmax(x, columnwise)`, `softmax(x, out)`; the gradient is
/// ds = p ∘ (dp − Σ p dp): `softmax.backward(p, dp)`. 16-bit scalars compute in float. O(n), no allocation but the result.
/// In x, −∞ has weight 0 and gradient 0, a row of nothing else too; several +∞ share all weight; NaN spreads to its row.
///
/// Also the normalizer that every attention has unless another is given.
struct Softmax : detail::LineFunction<Softmax> {
    static constexpr Kind kind = Kind::normalizer;

    /// Scores -> weights in place; returns the natural-log LSE of the scores.
    template <class T>
    T normalize(std::span<T> row, const RowPosition&) const {
        return detail::softmax_row(row);
    }
    /// dp -> ds in place, given the weights.
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T, const RowPosition&, Softmax*) const {
        detail::softmax_row_backward(p, dp);
    }
    using LineFunction::backward;

private:
    friend LineFunction;
    static constexpr const char* name = "softmax";
    static constexpr const char* result = "p";
    static void forward(const auto& row) { detail::softmax_row(row); }
    static void gradient(const auto& p, const auto& dp) { detail::softmax_row_backward(p, dp); }
};
inline constexpr Softmax softmax{};

/// log p of each row, x_j − log Σ e^x: called like `softmax`. A row of −∞ stays that. The gradient is dlog_p − p Σ dlog_p:
/// `log_softmax.backward(log_p, dlog_p)`.
struct LogSoftmax : detail::LineFunction<LogSoftmax> {
private:
    friend LineFunction;
    static constexpr const char* name = "log_softmax";
    static constexpr const char* result = "log_p";
    static void forward(const auto& row) { detail::log_softmax_row(row); }
    static void gradient(const auto& log_p, const auto& dlog_p) { detail::log_softmax_row_backward(log_p, dlog_p); }
};
inline constexpr LogSoftmax log_softmax{};

/// log Σ e^x of each row, as a column vector, or of each column, as a row vector: `logsumexp(x)`, `logsumexp(x, columnwise)`.
/// The logarithm is natural and the result's scalar the one that computes (float for 16 bits). −∞ for a row that is empty
/// or holds only that. The gradient is p · dlse: `logsumexp.backward(x, lse, dlse)`.
struct LogSumExp {
    template <detail::RealDense X, Along along = Along::rows>
    auto operator()(const X& x, std::integral_constant<Along, along> = {}) const {
        using T = Compute<typename X::Scalar>;
        using Column = Eigen::Matrix<T, X::RowsAtCompileTime, 1, Eigen::ColMajor, X::MaxRowsAtCompileTime, 1>;
        using Row = Eigen::Matrix<T, 1, X::ColsAtCompileTime, Eigen::RowMajor, 1, X::MaxColsAtCompileTime>;
        const detail::Operand<X> operand(x);
        const detail::Lines lines(operand.view(), along);
        std::conditional_t<along == Along::rows, Column, Row> lse;
        lse.resize(lines.count());
        for (Index i = 0; i < lines.count(); ++i) lse[i] = detail::row_logsumexp(lines[i]);
        return lse;
    }
    /// The gradient of x, given its LSEs and their gradient, vectors of one entry a line.
    template <detail::RealDense X, detail::RealDense Lse, detail::RealDense DLse>
    auto backward(const X& x, const Lse& lse, const DLse& dlse, Along along = rowwise) const {
        using T = Compute<typename X::Scalar>;
        const Index count = along == Along::rows ? x.rows() : x.cols();
        const auto is_one_a_line = [&](const auto& v) { return v.size() == count && (v.rows() == 1 || v.cols() == 1); };
        detail::require(is_one_a_line(lse) && is_one_a_line(dlse), "logsumexp.backward: ", detail::named("lse", lse.rows(), lse.cols()),
                        " and ", detail::named("dlse", dlse.rows(), dlse.cols()), " must be vectors of ", count, ", one entry a ",
                        along == rowwise ? "row" : "column", " of ", detail::named("x", x.rows(), x.cols()));
        const detail::Operand<Lse> lse_operand(lse);
        const detail::Operand<DLse> dlse_operand(dlse);
        const auto entry = [](const auto& v, Index i) {
            return static_cast<T>(v.data[i * (v.columns == 1 ? v.row_stride : v.column_stride)]);
        };
        typename X::PlainObject dx;
        detail::transform_lines(x, dx, along, [&](const auto& line, Index i) {
            detail::row_logsumexp_backward(line, entry(lse_operand.view(), i), entry(dlse_operand.view(), i));
        });
        return dx;
    }
};
inline constexpr LogSumExp logsumexp{};

}  // namespace attend

#pragma once
/// \file
/// Softmax, log-softmax and log-sum-exp over the rows or the columns of any dense expression, with their gradients.

#include <span>
#include <type_traits>

#include <attend/core/concepts.hpp>
#include <attend/core/output.hpp>
#include <attend/softmax/fold.hpp>
#include <attend/softmax/lines.hpp>
#include <attend/softmax/row.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

template <class X>
concept RealDense = Dense<X> && !Eigen::NumTraits<typename std::remove_cvref_t<X>::Scalar>::IsInteger &&
                    !Eigen::NumTraits<typename std::remove_cvref_t<X>::Scalar>::IsComplex;

/// The lines of an operand, read only.
template <class X>
class InputLines : public Operand<X>, public Lines<const typename X::Scalar, X> {
public:
    InputLines(const X& x, Along along)
        : Operand<X>(x), Lines<const typename X::Scalar, X>(Operand<X>::view(), along) {}
};

/// Calls `f(from, to, i, next)` for the lines of x and of out, a span and a pointer, which are the same where one of
/// them does not stand in memory as scalars that compute. `next` is the line of x that comes after, where it stands in
/// memory already, or nothing.
template <class X, class Out, class F>
void transform_lines(const X& x, Out& out, Along along, F f) {
    using T = typename Out::Scalar;
    Output<T> output(out);
    output.check("out", 1, 1, x.rows(), x.cols());
    if constexpr (DenseMemory<X>) {
        if (may_overlap_shifted(output.given(), view_of(x.data(), x)))
            refuse("out overlaps ", named("x", x.rows(), x.cols()), ": it must be x or have memory of its own");
    }
    using Scalar = Compute<T>;
    Lines<T, Out> lines(output.as(1, 1, x.rows(), x.cols()), along);
    bool copied = false;
    if constexpr (DenseMemory<X> && std::is_same_v<typename X::Scalar, T>) {
        const StridedView<const T> from = view_of(x.data(), x);
        if (!lines.in_place()) {
            lines.copy_from(from, along);
            copied = true;
        } else if constexpr (std::is_same_v<T, Scalar>) {
            const bool by_rows = along == Along::rows;
            const Index size = by_rows ? from.columns : from.rows,
                        step = by_rows ? from.row_stride : from.column_stride;
            if (size <= 1 || (by_rows ? from.column_stride : from.row_stride) == 1) {
                const auto line = [&](Index i) {
                    return i < lines.count() ? std::span<const T>(from.data + i * step, static_cast<std::size_t>(size))
                                             : std::span<const T>();
                };
                for (Index i = 0; i < lines.count(); ++i) f(line(i), lines[i].data(), i, line(i + 1));
                return;
            }
        }
    }
    if (!copied) out = x.template cast<T>();
    for (Index i = 0; i < lines.count(); ++i) {
        const auto line = lines[i];
        f(std::span<const Scalar>(line), line.data(), i, std::span<const Scalar>());
    }
}

/// What softmax and log-softmax have in common. `Self::forward<T>()` gives what makes rows, one after the other, by
/// `(x, out, next x)`; `Self::gradient(y, dy, dx)` makes of the gradients of outputs, given these, those of the inputs.
/// Each may write where it reads.
template <class Self>
struct LineFunction {
    /// Writes to `out`, which may be x itself; an empty `out` is resized.
    template <RealDense X, WritableMemory Out>
    void operator()(const X& x, Out&& out, Along along = rowwise) const {
        auto forward = Self::template forward<Compute<typename std::remove_cvref_t<Out>::Scalar>>();
        transform_lines(x, out, along, [&](auto from, auto* to, Index, auto next) { forward(from, to, next); });
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
        require(y.rows() == dy.rows() && y.cols() == dy.cols(), Self::name,
                ".backward: ", named(Self::result, y.rows(), y.cols()), " and ",
                named(words("d", Self::result), dy.rows(), dy.cols()), " must have the same shape");
        InputLines<Y> results(y, along);
        typename DY::PlainObject dx;
        transform_lines(dy, dx, along, [&](auto from, auto* to, Index i, auto) {
            Self::gradient(std::span<const std::remove_pointer_t<decltype(to)>>(results[i]), from, to);
        });
        return dx;
    }
};

}  // namespace detail

/// p_j = e^{x_j} / Σ e^x of each row: `softmax(x)`, `softmax(x, columnwise)`, `softmax(x, out)`.
/// The gradient is ds = p ∘ (dp − Σ p dp): `softmax.backward(p, dp)`. 16-bit scalars compute in float.
/// −∞ has weight 0 and gradient 0, so a row of nothing else is 0; several +∞ share all weight; NaN spreads to its row.
/// Written to an `out` of the right shape it uses no heap, except for rows of more than 64 KB in computing scalars that
/// are not contiguous, or of 16 bits.
///
/// Also the normalizer that every attention has unless another is given.
struct Softmax : detail::LineFunction<Softmax>, SoftmaxFold {
    static constexpr Kind kind = Kind::normalizer;

    auto spelled(const auto& say) const { return say("softmax"); }

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
    template <class T>
    static auto forward() {
        return detail::RowWeigher<T>();
    }
    static void gradient(auto p, auto dp, auto* ds) { detail::softmax_row_backward(p, dp, ds); }
};
/// The function, and the normalizer: `softmax(x)`, `attention >> softmax`.
inline constexpr Softmax softmax{};

/// log p of each row, x_j − log Σ e^x: called like `softmax`. A row of −∞ stays that.
/// The gradient is dlog_p − p Σ dlog_p: `log_softmax.backward(log_p, dlog_p)`.
struct LogSoftmax : detail::LineFunction<LogSoftmax> {
private:
    friend LineFunction;
    static constexpr const char* name = "log_softmax";
    static constexpr const char* result = "log_p";
    template <class T>
    static auto forward() {
        return [](std::span<const T> row, T* log_p, std::span<const T>) { detail::log_softmax_row(row, log_p); };
    }
    static void gradient(auto log_p, auto dlog_p, auto* ds) { detail::log_softmax_row_backward(log_p, dlog_p, ds); }
};
/// The function.
inline constexpr LogSoftmax log_softmax{};

/// log Σ e^x of each row, as a column vector: `logsumexp(x)`; or of each column, as a row vector:
/// `logsumexp(x, columnwise)`. The logarithm is natural, the result's scalar the one that computes (float for 16 bits).
/// A row that is empty, or holds only −∞, gives −∞. The gradient is p · dlse: `logsumexp.backward(x, lse, dlse)`.
struct LogSumExp {
    /// One entry a line. O(rows · columns).
    template <detail::RealDense X, Along along = Along::rows>
    auto operator()(const X& x, std::integral_constant<Along, along> = {}) const {
        using T = Compute<typename X::Scalar>;
        using Column = Eigen::Matrix<T, X::RowsAtCompileTime, 1, Eigen::ColMajor, X::MaxRowsAtCompileTime, 1>;
        using Row = Eigen::Matrix<T, 1, X::ColsAtCompileTime, Eigen::RowMajor, 1, X::MaxColsAtCompileTime>;
        detail::InputLines<X> lines(x, along);
        std::conditional_t<along == Along::rows, Column, Row> lse;
        lse.resize(lines.count());
        for (Index i = 0; i < lines.count(); ++i) lse[i] = detail::row_logsumexp(std::span<const T>(lines[i]));
        return lse;
    }

    /// The gradient of x, given its LSEs and their gradient: vectors of one entry a line, throws of others. O(rows ·
    /// columns).
    template <detail::RealDense X, detail::RealDense Lse, detail::RealDense DLse>
        requires(bool(Lse::IsVectorAtCompileTime) && bool(DLse::IsVectorAtCompileTime))
    auto backward(const X& x, const Lse& lse, const DLse& dlse, Along along = rowwise) const {
        const Index count = along == rowwise ? x.rows() : x.cols();
        detail::require(lse.size() == count && dlse.size() == count,
                        "logsumexp.backward: ", detail::named("lse", lse.rows(), lse.cols()), " and ",
                        detail::named("dlse", dlse.rows(), dlse.cols()), " must have one entry for each ",
                        along == rowwise ? "row" : "column", " of ", detail::named("x", x.rows(), x.cols()));
        using T = Compute<typename X::Scalar>;
        const auto& lses = lse.eval();
        const auto& dlses = dlse.eval();
        typename X::PlainObject dx;
        detail::transform_lines(x, dx, along, [&](auto from, auto* to, Index i, auto) {
            detail::row_logsumexp_backward(from, to, static_cast<T>(lses[i]), static_cast<T>(dlses[i]));
        });
        return dx;
    }
};
/// The function.
inline constexpr LogSumExp logsumexp{};

}  // namespace attend

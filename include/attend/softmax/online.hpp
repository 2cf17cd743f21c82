#pragma once
/// \file
/// Softmax-weighted sums in one pass: partial results over some of the keys, which take in another key or each other.
///
/// Sources: Milakov and Gimelshein 2018 (the running maximum and sum); Dao et al. 2022 (the weighted output with them).

#include <cmath>
#include <limits>
#include <type_traits>

#include <attend/core/output.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// The factors that make two sums, one relative to the score a and one to b, relative to the larger: e^{a − max} and
/// e^{b − max}.
template <class T>
struct Rescaling {
    T max, a, b;

    Rescaling(T score_a, T score_b)
        : max(score_b > score_a ? score_b : score_a),
          a(exp_difference(score_a, max)),
          b(exp_difference(score_b, max)) {}
};

}  // namespace detail

/// The softmax-weighted sum of the values of some keys, in the scalar T; `Width` is that of the values where it is
/// fixed. In what order keys come, and how they are spread over states that merge, changes the result by rounding only.
template <class T, int Width = Eigen::Dynamic>
class SoftmaxState {
    static_assert(std::is_same_v<T, Compute<T>>, "attend: the state of 16-bit values is a SoftmaxState<float>");

public:
    /// A value.
    using Row = Eigen::Matrix<T, 1, Width>;

    /// The state of no keys.
    explicit SoftmaxState(Index width = Width == Eigen::Dynamic ? 0 : Width) : output_(Row::Zero(width)) {}

    /// Features of a value.
    Index width() const { return output_.size(); }

    /// Takes in a key: its score and its value, a row or column of `width()` numbers. A score of −∞ means absent; the
    /// value is then not looked at. O(width). Throws where the value has another width.
    template <detail::Dense Value>
        requires(bool(Value::IsVectorAtCompileTime))
    void absorb(T score, const Value& value) {
        detail::require(value.size() == width(), "absorb: ", detail::named("value", value.rows(), value.cols()),
                        " must have the width of the state, ", width());
        if (score == -std::numeric_limits<T>::infinity()) return;
        const detail::Rescaling<T> scale(max_, score);
        max_ = scale.max;
        sum_ = scale.a * sum_ + scale.b;
        if constexpr (Value::RowsAtCompileTime == 1) {
            output_ = scale.a * output_ + scale.b * value.matrix().template cast<T>();
        } else {
            output_ = scale.a * output_ + scale.b * value.matrix().transpose().template cast<T>();
        }
    }

    /// Takes in the keys of another state. O(width). Throws where it has another width.
    void merge(const SoftmaxState& other) {
        detail::require(other.width() == width(), "merge: the states have widths ", width(), " and ", other.width());
        const detail::Rescaling<T> scale(max_, other.max_);
        max_ = scale.max;
        sum_ = scale.a * sum_ + scale.b * other.sum_;
        output_ = scale.a * output_ + scale.b * other.output_;
    }

    /// Σ p v; 0 without a key.
    Row finish() const {
        if (sum_ == T(0)) return Row::Zero(width());
        return output_ / sum_;
    }
    /// The natural-log LSE of the scores; −∞ without a key.
    T lse() const { return max_ + std::log(sum_); }

private:
    T max_ = -std::numeric_limits<T>::infinity();
    T sum_ = 0;   // Σ e^{s − max}
    Row output_;  // Σ e^{s − max} v
};

/// The state of the keys of both. Throws where they differ in width.
template <class T, int Width>
SoftmaxState<T, Width> merge(SoftmaxState<T, Width> a, const SoftmaxState<T, Width>& b) {
    a.merge(b);
    return a;
}

/// Merges the results of one attention over two disjoint ranges of keys: outputs n × heads · d_v, natural-log LSEs
/// n × heads. Where an LSE is −∞ that head of the row saw no key and its output is not looked at. `out` and `lse` may
/// be inputs; empty ones are resized. A sink belongs to one of them: two that both counted it would count it twice.
/// Throws where shapes do not fit, or where outputs overlap. O(n · heads · d_v).
template <detail::DenseMemory OutA, detail::DenseMemory LseA, detail::DenseMemory OutB, detail::DenseMemory LseB,
          detail::WritableMemory Out, detail::WritableMemory Lse>
void merge(const OutA& out_a, const LseA& lse_a, const OutB& out_b, const LseB& lse_b, Out&& out, Lse&& lse) {
    using OutScalar = typename std::remove_cvref_t<Out>::Scalar;
    using LseScalar = typename std::remove_cvref_t<Lse>::Scalar;
    using T = Compute<OutScalar>;
    constexpr T lowest = -std::numeric_limits<T>::infinity();
    const Index rows = out_a.rows(), columns = out_a.cols(), heads = lse_a.cols();

    detail::require(out_b.rows() == rows && out_b.cols() == columns, "merge: ", detail::named("out_a", rows, columns),
                    " and ", detail::named("out_b", out_b.rows(), out_b.cols()), " must have the same shape");
    detail::require(
        lse_a.rows() == rows && lse_b.rows() == rows && lse_b.cols() == heads && heads > 0 && columns % heads == 0,
        "merge: ", detail::named("lse_a", lse_a.rows(), heads), " and ",
        detail::named("lse_b", lse_b.rows(), lse_b.cols()), " must have an entry for each head of the ", rows,
        " rows of ", detail::named("out_a", rows, columns));
    Output<OutScalar> out_output(out);
    Output<LseScalar> lse_output(lse);
    out_output.check("out", 1, 1, rows, columns);
    lse_output.check("lse", 1, 1, rows, heads);
    // Each row is read before it is written: an output may be an input, but not reach into other rows of it.
    const auto apart = [](const auto& output, std::string_view name, const auto& input, std::string_view input_name) {
        const auto view = detail::view_of(input.data(), input);
        if (detail::may_overlap_shifted(output.given(), view))
            detail::refuse("merge: ", name, " overlaps ", detail::named(input_name, input.rows(), input.cols()),
                           ": it must be that or have memory of its own");
    };
    apart(out_output, "out", out_a, "out_a"), apart(out_output, "out", lse_a, "lse_a");
    apart(out_output, "out", out_b, "out_b"), apart(out_output, "out", lse_b, "lse_b");
    apart(lse_output, "lse", out_a, "out_a"), apart(lse_output, "lse", lse_a, "lse_a");
    apart(lse_output, "lse", out_b, "out_b"), apart(lse_output, "lse", lse_b, "lse_b");
    detail::require(
        static_cast<const void*>(&out) != &lse && !detail::may_overlap(out_output.given(), lse_output.given()),
        "merge: out and lse overlap: give each memory of its own");
    out_output.as(1, 1, rows, columns);
    lse_output.as(1, 1, rows, heads);

    const Index width = columns / heads;
    for (Index i = 0; i < rows; ++i) {
        for (Index h = 0; h < heads; ++h) {
            const T a = static_cast<T>(lse_a(i, h)), b = static_cast<T>(lse_b(i, h));
            const detail::Rescaling<T> scale(a, b);
            const T sum = scale.a + scale.b;
            lse(i, h) = static_cast<LseScalar>(scale.max + std::log(sum));
            const auto row_a = out_a.row(i).segment(h * width, width), row_b = out_b.row(i).segment(h * width, width);
            auto row = out.row(i).segment(h * width, width);
            if (a == lowest && b == lowest) {
                row.setZero();
            } else if (a == lowest) {
                row = row_b.template cast<OutScalar>();
            } else if (b == lowest) {
                row = row_a.template cast<OutScalar>();
            } else {
                row = ((scale.a * row_a.template cast<T>() + scale.b * row_b.template cast<T>()) / sum)
                          .template cast<OutScalar>();
            }
        }
    }
}

}  // namespace attend

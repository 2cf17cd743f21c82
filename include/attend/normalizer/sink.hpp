#pragma once
/// \file
/// Softmax with an attention sink.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include <attend/core/concepts.hpp>
#include <attend/core/per_head.hpp>
#include <attend/softmax/softmax.hpp>

namespace attend::inline ATTEND_ABI {

/// p_j = e^{s_j} / (e^{sink} + Σ e^{s}): a logit that takes weight and gives no value, so a row may attend to nothing
/// (Xiao et al. 2024; gpt-oss, 2025). The LSE includes it, except for an empty row, whose LSE stays −∞. The sink
/// trains; one for all heads or one a head.
template <class Logit>
struct SoftmaxWithSink : SoftmaxFold {
    static constexpr Kind kind = Kind::normalizer;

    Logit sink;  ///< double, or a vector with one a head

    /// What `softmax_with_sink(sink)` makes.
    explicit SoftmaxWithSink(Logit sink_) : sink(std::move(sink_)) {}

    static void parameters(auto& self, auto&& visit) { visit("sink", self.sink); }
    auto spelled(const auto& say) const { return say("softmax_with_sink", sink); }
    void check(const Shape& shape) const { detail::check_per_head(sink, "softmax_with_sink: sink", shape); }

    template <class T>
    T factor(const State<T>& row, Index head) const {
        const State<T> all = with_sink(row, head);
        return row.sum == T(0) ? T(0) : detail::nonpositive_exp(row.largest - all.largest) / all.sum;
    }
    template <class T>
    T lse(const State<T>& row, Index head) const {
        return SoftmaxFold::lse(row.sum == T(0) ? row : with_sink(row, head), head);
    }
    /// −Σ p δ, where p is the sink's weight: its dp is 0, as it has no value. A weight of 0, as in an empty row, gives
    /// nothing, whatever its δ.
    template <class T>
    void row_backward(T lse, T delta, Index head, SoftmaxWithSink& gradient) const {
        const double most = static_cast<double>(std::numeric_limits<T>::max());
        add_gradient(std::exp(std::min(detail::at_head(sink, head), most) - static_cast<double>(lse)), delta, head,
                     gradient);
    }
    template <class T>
    void row_backward(const State<T>& row, T delta, Index head, SoftmaxWithSink& gradient) const {
        const double keys =
            static_cast<double>(row.sum) * std::exp(static_cast<double>(row.largest) - detail::at_head(sink, head));
        add_gradient(1 / (1 + keys), delta, head, gradient);
    }

    template <class T>
    T normalize(std::span<T> row, const RowPosition& where) const {
        return detail::softmax_row(row, static_cast<T>(detail::at_head(sink, where.head)));
    }
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T lse, const RowPosition& where,
                  SoftmaxWithSink* gradient) const {
        const T delta = detail::softmax_row_backward(p, dp);
        if (gradient != nullptr && delta != T(0)) row_backward(lse, delta, where.head, *gradient);
    }

private:
    template <class T>
    State<T> with_sink(const State<T>& row, Index head) const {
        // A sink of +∞ takes all weight: the largest finite number stands for it, as it does for scores.
        const T logit = std::min(static_cast<T>(detail::at_head(sink, head)), std::numeric_limits<T>::max());
        const T top = std::max(row.largest, logit);
        return {top, detail::nonpositive_exp(row.largest - top) * row.sum + detail::nonpositive_exp(logit - top)};
    }
    template <class T>
    static void add_gradient(double p, T delta, Index head, SoftmaxWithSink& gradient) {
        if (p != 0) detail::at_head(gradient.sink, head) -= p * static_cast<double>(delta);
    }
};

/// `>> softmax_with_sink(0.7f)`, or a vector of logits, one a head, copied.
template <class Logit>
SoftmaxWithSink<detail::PerHeadOf<Logit>> softmax_with_sink(const Logit& sink) {
    return SoftmaxWithSink<detail::PerHeadOf<Logit>>(detail::store_per_head(sink));
}

}  // namespace attend

#pragma once
/// \file
/// Softmax with an attention sink.

#include <cmath>
#include <span>

#include <attend/core/concepts.hpp>
#include <attend/core/per_head.hpp>
#include <attend/softmax/softmax.hpp>

namespace attend::inline ATTEND_ABI {

/// p_j = e^{s_j} / (e^{sink} + Σ e^{s}): a logit that takes weight and gives no value, so a row may attend to nothing
/// (Xiao et al. 2024; gpt-oss, 2025). The LSE includes it, except for an empty row, whose LSE stays −∞. The sink
/// trains; one for all heads or one a head.
template <class Logit>
struct SoftmaxWithSink {
    static constexpr Kind kind = Kind::normalizer;
    static constexpr bool online = true;

    Logit sink;

    static void parameters(auto& self, auto&& visit) { visit("sink", self.sink); }
    void check(const Shape& shape) const { detail::check_per_head(sink, "softmax_with_sink: sink", shape); }

    double logit(Index head) const { return detail::at_head(sink, head); }
    void add_logit_gradient(Index head, double dlogit, SoftmaxWithSink& gradient) const {
        detail::at_head(gradient.sink, head) += dlogit;
    }
    template <class T>
    T normalize(std::span<T> row, const RowPosition& where) const {
        return detail::softmax_row(row, static_cast<T>(detail::at_head(sink, where.head)));
    }
    /// The sink's weight is e^{sink − lse}; its dp is 0, as it has no value.
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T lse, const RowPosition& where,
                  SoftmaxWithSink* gradient) const {
        const T delta = detail::softmax_row_backward(p, dp);
        if (gradient == nullptr || delta == T(0)) return;
        using std::exp;
        const T weight = exp(static_cast<T>(detail::at_head(sink, where.head)) - lse);
        add_logit_gradient(where.head, -static_cast<double>(weight * delta), *gradient);
    }
};

/// `>> softmax_with_sink(0.7f)`, or a vector of logits, one a head, copied.
template <class Logit>
SoftmaxWithSink<detail::PerHeadOf<Logit>> softmax_with_sink(const Logit& sink) {
    return {detail::store_per_head(sink)};
}

}  // namespace attend

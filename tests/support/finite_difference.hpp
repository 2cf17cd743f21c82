#pragma once
/// \file
/// Gradients by central differences, against those that backward gives.

#include <cmath>
#include <functional>
#include <span>

#include <support/call.hpp>
#include <support/catch.hpp>

namespace attend::test {

/// A loss, Σ out ∘ dout + Σ lse ∘ dlse over rows that are not empty, as a function of whatever `call` reads.
///
/// Sparse normalizers, top-k and the ends of a span have kinks. A difference across one says nothing, so every
/// evaluation must find the zeros of the weights where they were at first: all points then lie on one smooth piece.
class Loss {
public:
    Loss(std::function<Outputs<double>()> call, const RowMatrix<double>& dout, const RowMatrix<double>& dlse = {})
        : call_(std::move(call)), dout_(dout), dlse_(dlse), weights_(call_().weights) {}

    /// ∂/∂value by the five-point formula. Operands are of order 1, so that its error, of order step⁴, and the
    /// rounding, of order 1e-16 / step, both stay below 1e-11 for derivatives that are of order 1 too.
    double slope(double& value) const {
        constexpr double step = 5e-4;
        const double centre = value;
        const auto at = [&](double steps) {
            value = centre + steps * step;
            return evaluate();
        };
        const double difference = 8.0 * (at(1) - at(-1)) - (at(2) - at(-2));
        value = centre;
        return difference / (12.0 * step);
    }

private:
    double evaluate() const {
        const Outputs<double> y = call_();
        REQUIRE(((y.weights.array() == 0) == (weights_.array() == 0)).all());
        double loss = y.out.cwiseProduct(dout_).sum();
        for (Index i = 0; i < dlse_.size(); ++i)
            if (std::isfinite(y.lse.data()[i])) loss += y.lse.data()[i] * dlse_.data()[i];
        return loss;
    }

    std::function<Outputs<double>()> call_;
    const RowMatrix<double>& dout_;
    RowMatrix<double> dlse_, weights_;
};

inline void check_slopes(const Loss& loss, std::span<double> values, std::span<const double> gradient,
                         std::string_view name) {
    Eigen::VectorXd slopes(std::ssize(values));
    for (std::size_t i = 0; i < values.size(); ++i) slopes[static_cast<Index>(i)] = loss.slope(values[i]);
    const Eigen::Map<const Eigen::VectorXd> given(gradient.data(), std::ssize(gradient));
    INFO(name << "\nby differences\n" << slopes.transpose() << "\nby backward\n" << given.transpose());
    CHECK(distance(slopes, given) <= 1e-8 * magnitude(slopes));
}

template <class Matrix>
auto span_of(Matrix& matrix) {
    return std::span(matrix.data(), static_cast<std::size_t>(matrix.size()));
}

/// Checks the gradients of q, k, v and of every parameter.
template <class A>
void check_gradients(A attention, Operands<double> x) {
    Gradients<double, A> d = backward(attention, x);
    const Loss loss([&] { return forward(attention, x); }, x.dout, x.dlse);
    check_slopes(loss, span_of(x.q), span_of(d.dq), "dq");
    check_slopes(loss, span_of(x.k), span_of(d.dk), "dk");
    check_slopes(loss, span_of(x.v), span_of(d.dv), "dv");

    std::vector<std::span<double>> gradients;
    visit_parameters(d.parameters, [&](std::string_view, auto& matrix) { gradients.push_back(span_of(matrix)); });
    std::size_t i = 0;
    visit_parameters(attention, [&](std::string_view name, auto& matrix) {
        check_slopes(loss, span_of(matrix), gradients[i++], name);
    });
}

}  // namespace attend::test

#pragma once

#include "random.hpp"

#include <attend/core/types.hpp>

#include <cmath>
#include <type_traits>

namespace support {

template <class T>
using Rows = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using RowVector = Eigen::Matrix<T, 1, Eigen::Dynamic>;

/// `compute(y)`; where y holds 16-bit numbers, of a matrix in float that is then rounded into it.
template <class Y, class F>
void compute_into(Rows<Y>& y, const F& compute) {
    if constexpr (std::is_same_v<Y, attend::Compute<Y>>) {
        compute(y);
    } else {
        Rows<attend::Compute<Y>> exact;
        compute(exact);
        y = exact.template cast<Y>();
    }
}

/// Uniform with the variance of Glorot and Bengio 2010, which keeps signals the same size from layer to layer.
template <class T>
Rows<T> random_weight(Eigen::Index in, Eigen::Index out, Random& random) {
    using C = attend::Compute<T>;
    const C bound = std::sqrt(C(6) / static_cast<C>(in + out));
    return Rows<T>::NullaryExpr(in, out, [&] { return static_cast<T>(random.symmetric(bound)); });
}

/// y = x W + b, a token a row. Of 16-bit weights gradients are float.
template <class T>
struct Linear {
    using C = attend::Compute<T>;

    Linear(Eigen::Index in, Eigen::Index out, Random& random)
        : weight(random_weight<T>(in, out, random)), bias(RowVector<T>::Zero(out)) {}

    template <class X>
    Rows<T> operator()(const X& x) const {
        return (x * weight).rowwise() + bias;
    }
    /// The same into memory that is there from the last time.
    template <class X, class Y>
    void forward(const X& x, Rows<Y>& y) const {
        compute_into(y, [&](Rows<C>& exact) {
            exact.noalias() = x.template cast<C>() * weight.template cast<C>();
            exact.rowwise() += bias.template cast<C>();
        });
    }

    /// Adds the gradients of the parameters into `gradient` and returns the gradient of x.
    template <class X>
    Rows<T> backward(const X& x, const Rows<T>& dy, Linear<C>& gradient) const {
        Rows<T> dx;
        backward(x, dy, gradient, dx);
        return dx;
    }
    template <class X, class DY>
    void backward(const X& x, const Rows<DY>& dy, Linear<C>& gradient, Rows<T>& dx) const {
        gradient.weight.noalias() += x.template cast<C>().transpose() * dy.template cast<C>();
        gradient.bias += dy.template cast<C>().colwise().sum();
        compute_into(dx, [&](Rows<C>& exact) {
            exact.noalias() = dy.template cast<C>() * weight.template cast<C>().transpose();
        });
    }

    /// Names the parameters for `attend::visit_parameters` and `attend::zero_gradient`.
    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("weight", self.weight);
        visit("bias", self.bias);
    }

    Rows<T> weight;
    RowVector<T> bias;
};

}  // namespace support

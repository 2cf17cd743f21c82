#pragma once

#include "random.hpp"

#include <Eigen/Core>

#include <cmath>

namespace support {

template <class T>
using Rows = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using RowVector = Eigen::Matrix<T, 1, Eigen::Dynamic>;

/// Uniform with the variance of Glorot and Bengio 2010, which keeps signals the same size from layer to layer.
template <class T>
Rows<T> random_weight(Eigen::Index in, Eigen::Index out, Random& random) {
    const T bound = std::sqrt(T(6) / static_cast<T>(in + out));
    return Rows<T>::NullaryExpr(in, out, [&] { return random.symmetric(bound); });
}

/// y = x W + b, a token a row.
template <class T>
struct Linear {
    Linear(Eigen::Index in, Eigen::Index out, Random& random)
        : weight(random_weight<T>(in, out, random)), bias(RowVector<T>::Zero(out)) {}

    template <class X>
    Rows<T> operator()(const X& x) const {
        return (x * weight).rowwise() + bias;
    }
    /// The same into memory that is there from the last time.
    template <class X>
    void forward(const X& x, Rows<T>& y) const {
        y.noalias() = x * weight;
        y.rowwise() += bias;
    }

    /// Adds the gradients of the parameters into `gradient` and returns the gradient of x.
    template <class X>
    Rows<T> backward(const X& x, const Rows<T>& dy, Linear& gradient) const {
        Rows<T> dx;
        backward(x, dy, gradient, dx);
        return dx;
    }
    template <class X>
    void backward(const X& x, const Rows<T>& dy, Linear& gradient, Rows<T>& dx) const {
        gradient.weight.noalias() += x.transpose() * dy;
        gradient.bias += dy.colwise().sum();
        dx.noalias() = dy * weight.transpose();
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

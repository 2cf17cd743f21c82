#pragma once

#include "../support/layers.hpp"

namespace transformer_lm {

using support::Rows;
using support::RowVector;

/// y = (1 + gain) x / sqrt(mean(x^2)) for each row x (RMSNorm, Zhang and Sennrich 2019). What it gives, and the
/// gradient of that, may be 16-bit numbers.
template <class T>
struct RmsNorm {
    struct Tape {
        Rows<T> unit;                               // x / sqrt(mean(x^2))
        Eigen::Matrix<T, Eigen::Dynamic, 1> scale;  // 1 / sqrt(mean(x^2)), a row each
    };

    explicit RmsNorm(Eigen::Index width) : gain(RowVector<T>::Zero(width)) {}

    template <class Y>
    void forward(const Rows<T>& x, Tape& tape, Rows<Y>& y) const {
        tape.scale = (x.rowwise().squaredNorm().array() / static_cast<T>(x.cols()) + T(1e-6)).rsqrt();
        tape.unit = x.array().colwise() * tape.scale.array();
        y = (tape.unit.array().rowwise() * (gain.array() + T(1))).matrix().template cast<Y>();
    }

    /// Adds the gradients of the gain and of x.
    template <class DY>
    void backward(const Tape& tape, const Rows<DY>& dy, RmsNorm& gradient, Rows<T>& dx) const {
        gradient.gain.array() += (dy.template cast<T>().array() * tape.unit.array()).colwise().sum();
        for (Eigen::Index i = 0; i < dy.rows(); ++i) {
            const RowVector<T> dunit = dy.row(i).template cast<T>().array() * (gain.array() + T(1));
            const T along = dunit.dot(tape.unit.row(i)) / static_cast<T>(dy.cols());
            dx.row(i) += tape.scale[i] * (dunit - along * tape.unit.row(i));
        }
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("gain", self.gain);
    }

    RowVector<T> gain;  // beside 1, so that weight decay draws it towards 1
};

}  // namespace transformer_lm

#pragma once

#include "layers.hpp"

namespace support {

/// y = max(x W1 + b1, 0) W2 + b2, each row by itself.
template <class T>
struct Perceptron {
    struct Tape {
        Rows<T> active, dactive;
    };

    Perceptron(Eigen::Index in, Eigen::Index hidden, Eigen::Index out, Random& random)
        : up(in, hidden, random), down(hidden, out, random) {}

    template <class X>
    void forward(const X& x, Tape& tape, Rows<T>& y) const {
        up.forward(x, tape.active);
        tape.active = tape.active.cwiseMax(T(0));
        down.forward(tape.active, y);
    }
    /// Adds the gradients of the parameters and writes that of x.
    template <class X>
    void backward(const X& x, Tape& tape, const Rows<T>& dy, Perceptron& gradient, Rows<T>& dx) const {
        down.backward(tape.active, dy, gradient.down, tape.dactive);
        tape.dactive.array() *= (tape.active.array() > T(0)).template cast<T>();
        up.backward(x, tape.dactive, gradient.up, dx);
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("up", self.up);
        visit("down", self.down);
    }

    Linear<T> up, down;
};

}  // namespace support

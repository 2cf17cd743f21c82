#pragma once

#include "../support/layers.hpp"
#include "../support/random.hpp"

namespace transformer_lm {

/// y = SiLU(x W1 + b1) W2 + b2, where SiLU(h) = h sigma(h) (Elfwing et al. 2018): each row by itself.
template <class T>
struct Mlp {
    using C = attend::Compute<T>;

    struct Tape {
        support::Rows<T> hidden, gate, active;  // h, sigma(h), h sigma(h)
        support::Rows<T> dhidden;
    };

    Mlp(Eigen::Index width, Eigen::Index hidden, support::Random& random)
        : up(width, hidden, random), down(hidden, width, random) {}

    void forward(const support::Rows<T>& x, Tape& tape, support::Rows<T>& y) const {
        up.forward(x, tape.hidden);
        tape.gate = exact(tape.hidden).logistic().template cast<T>();
        tape.active = tape.hidden.array() * tape.gate.array();
        down.forward(tape.active, y);
    }

    /// Adds the gradients of the parameters and writes that of x.
    void backward(const support::Rows<T>& x, Tape& tape, const support::Rows<T>& dy, Mlp<C>& gradient,
                  support::Rows<T>& dx) const {
        down.backward(tape.active, dy, gradient.down, tape.dhidden);
        const auto slope = exact(tape.gate) + exact(tape.active) * (C(1) - exact(tape.gate));
        tape.dhidden = (exact(tape.dhidden) * slope).template cast<T>();
        up.backward(x, tape.dhidden, gradient.up, dx);
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("up", self.up);
        visit("down", self.down);
    }

    support::Linear<T> up, down;

private:
    static auto exact(const support::Rows<T>& x) { return x.array().template cast<C>(); }
};

}  // namespace transformer_lm

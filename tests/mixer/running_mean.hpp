#pragma once
/// \file
/// A recurrent mixer of a user's own: the mean of the values so far, of which each loses weight from step to step. It
/// touches nothing of the library but what mixer/mixer.hpp says.

#include <attend/mixer/mixer.hpp>

namespace attend::test {

/// out_i = Σ_j r^(i−j) v_j / Σ_j r^(i−j) with r = 1 / (1 + e^−decay); of all keys where it is not causal.
struct RunningMean {
    bool causal = true;
    double decay = 0.5;

    static void parameters(auto& self, auto&& visit) { visit("decay", self.decay); }

    /// The sum of the values, and that of their weights.
    StateShape state(const Shape& shape) const { return {1, shape.d_v + 1}; }

    void absorb(const auto&, const auto& v, auto& state) const {
        state *= rate(state);
        state.row(0).head(v.size()) += v;
        state(0, v.size()) += 1;
    }
    void read(const auto&, const auto& state, auto& out) const {
        out = state.row(0).head(out.size()) / state(0, out.size());
    }
    void absorb_backward(const auto&, const auto& v, const auto& state, auto& dstate, auto&, auto& dv,
                         RunningMean* gradient) const {
        dv += dstate.row(0).head(v.size());
        const auto r = rate(state);
        if (gradient != nullptr) gradient->decay += static_cast<double>(r * (1 - r) * state.cwiseProduct(dstate).sum());
        dstate *= r;
    }
    void read_backward(const auto&, const auto& state, const auto& dout, auto&, auto& dstate, RunningMean*) const {
        const Index n = dout.size();
        const auto weight = state(0, n);
        dstate.row(0).head(n) += dout / weight;
        dstate(0, n) -= dout.dot(state.row(0).head(n)) / (weight * weight);
    }

private:
    template <class State>
    auto rate(const State&) const {
        return static_cast<typename State::Scalar>(1 / (1 + std::exp(-decay)));
    }
};

}  // namespace attend::test

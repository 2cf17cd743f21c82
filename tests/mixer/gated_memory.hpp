#pragma once
/// \file
/// A recurrent mixer whose state is a matrix that queries, keys and values all take part in.

#include <cmath>

#include <attend/mixer/mixer.hpp>

namespace attend::test {

/// S_j = σ(k_j · gate) S_{j−1} + k_jᵀ v_j, and out_i = q_i S.
struct GatedMemory {
    bool causal = true;
    Eigen::VectorXd gate{};

    static void parameters(auto& self, auto&& visit) { visit("gate", self.gate); }

    void check(const Shape& shape) const {
        attend::detail::require(shape.d_q == gate.size() && shape.d_k == gate.size(),
                                "gated memory: q and k must have ", gate.size(), " columns a head, not ", shape.d_q,
                                " and ", shape.d_k);
    }
    StateShape state(const Shape& shape) const { return {shape.d_k, shape.d_v}; }

    void absorb(const auto& k, const auto& v, auto& state) const {
        state *= rate(k);
        state.noalias() += k.transpose() * v;
    }
    void read(const auto& q, const auto& state, auto& out) const { out.noalias() = q * state; }

    void absorb_backward(const auto& k, const auto& v, const auto& state, auto& dstate, auto& dk, auto& dv,
                         GatedMemory* gradient) const {
        using C = typename std::remove_cvref_t<decltype(k)>::Scalar;
        const C r = rate(k), dlogit = r * (1 - r) * state.cwiseProduct(dstate).sum();
        dk += dlogit * gate.transpose().template cast<C>();
        dk.noalias() += v * dstate.transpose();
        dv.noalias() += k * dstate;
        if (gradient != nullptr) gradient->gate += (dlogit * k.transpose()).template cast<double>();
        dstate *= r;
    }
    void read_backward(const auto& q, const auto& state, const auto& dout, auto& dq, auto& dstate, GatedMemory*) const {
        dq.noalias() += dout * state.transpose();
        dstate.noalias() += q.transpose() * dout;
    }

private:
    template <class K>
    auto rate(const K& k) const {
        using C = typename K::Scalar;
        return static_cast<C>(1 / (1 + std::exp(-k.dot(gate.transpose().template cast<C>()))));
    }
};

}  // namespace attend::test

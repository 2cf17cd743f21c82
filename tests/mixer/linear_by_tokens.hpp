#pragma once
/// \file
/// Linear attention as its recurrence says, token by token, with gates as they are given: a recurrent mixer beside the
/// library's, which takes chunks.

#include <cmath>

#include <attend/mixer/linear_attention.hpp>

namespace attend::test {

struct LinearByTokens {
    bool causal = true;
    Decay decay = Decay::none;
    bool delta = false;

    Index key_width(Index d) const { return LinearAttention{.decay = decay, .delta = delta}.key_width(d); }
    StateShape state(const Shape& shape) const { return {shape.d_q, shape.d_v}; }

    void absorb(const auto& k, const auto& v, auto& state) const {
        const Index d = state.rows();
        for (Index c = 0; c < d; ++c) state.row(c) *= factor(k, c, d);
        const auto u = written(k, v, state);
        for (Index c = 0; c < d; ++c) state.row(c) += k[c] * u;
    }
    void read(const auto& q, const auto& state, auto& out) const {
        for (Index c = 0; c < q.size(); ++c) out += scale(q) * q[c] * state.row(c);
    }
    void absorb_backward(const auto& k, const auto& v, const auto& state, auto& dstate, auto& dk, auto& dv,
                         LinearByTokens*) const {
        const Index d = state.rows();
        auto decayed = state.eval();
        for (Index c = 0; c < d; ++c) decayed.row(c) *= factor(k, c, d);
        const auto u = written(k, v, decayed);
        auto du = (0 * v).eval();
        for (Index c = 0; c < d; ++c) du += k[c] * dstate.row(c), dk[c] += dstate.row(c).dot(u);
        if (delta) {
            const auto rest = (v - k.head(d) * decayed).eval();
            dk[k.size() - 1] += du.dot(rest);
            du *= k[k.size() - 1];
            for (Index c = 0; c < d; ++c) dk[c] -= du.dot(decayed.row(c)), dstate.row(c) -= k[c] * du;
        }
        dv += du;
        for (Index c = 0; c < d; ++c) {
            if (decay != Decay::none) dk[decay == Decay::head ? d : d + c] += dstate.row(c).dot(decayed.row(c));
            dstate.row(c) *= factor(k, c, d);
        }
    }
    void read_backward(const auto& q, const auto& state, const auto& dout, auto& dq, auto& dstate,
                       LinearByTokens*) const {
        for (Index c = 0; c < q.size(); ++c) {
            dq[c] += scale(q) * dout.dot(state.row(c));
            dstate.row(c) += scale(q) * q[c] * dout;
        }
    }

private:
    template <class Q>
    static auto scale(const Q& q) {
        return 1 / std::sqrt(static_cast<typename Q::Scalar>(q.size()));
    }
    template <class K>
    typename K::Scalar factor(const K& k, Index c, Index d) const {
        return decay == Decay::none ? 1 : std::exp(k[decay == Decay::head ? d : d + c]);
    }
    auto written(const auto& k, const auto& v, const auto& decayed) const {
        auto u = v.eval();
        if (delta) u = k[k.size() - 1] * (v - k.head(decayed.rows()) * decayed);
        return u;
    }
};

}  // namespace attend::test

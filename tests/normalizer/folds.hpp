#pragma once
// A fold of a user's own, which needs nothing of the library but the words of core/concepts.hpp: softmax with an
// inverse temperature that trains, one a head.

#include <limits>
#include <utility>

#include <attend/attention.hpp>

namespace attend::test {

struct Tempered {
    static constexpr Kind kind = Kind::normalizer;

    Eigen::VectorXd beta;  ///< positive

    template <class P>
    struct State {
        P largest = P(-1e30F), sum = P(0);
    };

    static void parameters(auto& self, auto&& visit) { visit("beta", self.beta); }

    template <class P>
    P take(auto& scores, State<P>& row, Index head) const {
        using attend::exp, attend::max;
        const P largest = max(row.largest, scores.largest()), rescale = exp(P(beta[head]) * (row.largest - largest));
        const P sum = scores.replace([&](auto s) {
            using S = decltype(s);
            return exp(S(beta[head]) * (s - S(largest)));
        });
        row = {largest, row.sum * rescale + sum};
        return rescale;
    }
    template <class P>
    std::pair<P, P> merge(State<P>& row, const State<P>& other, Index head) const {
        using attend::exp, attend::max;
        const P largest = max(row.largest, other.largest), a = exp(P(beta[head]) * (row.largest - largest)),
                b = exp(P(beta[head]) * (other.largest - largest));
        row = {largest, a * row.sum + b * other.sum};
        return {a, b};
    }
    template <class T>
    T factor(const State<T>& row, Index) const {
        return row.sum == T(0) ? T(0) : T(1) / row.sum;
    }
    template <class T>
    T lse(const State<T>& row, Index head) const {
        return row.sum == T(0) ? -std::numeric_limits<T>::infinity()
                               : static_cast<T>(beta[head]) * row.largest + std::log(row.sum);
    }
    template <class P>
    P weight(P s, P lse, Index head) const {
        using attend::exp;
        return exp(P(beta[head]) * s - lse);
    }
    template <class P>
    P weight(P s, const State<P>& row, Index head) const {
        using attend::exp;
        return exp(P(beta[head]) * (s - row.largest));
    }
    template <class P>
    P backward(P s, P p, P dp, P delta, Index head, Tempered* gradient) const {
        const P d = p * (dp - delta);
        if (gradient != nullptr) gradient->beta[head] += static_cast<double>(sum(d * s));
        return P(beta[head]) * d;
    }
};

}  // namespace attend::test

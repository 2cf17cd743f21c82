// expect: attend: this score has parameters, but no pair_backward that adds their gradients
#include <attend/attend.hpp>

using namespace attend;

struct Weighted {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::elementwise;
    double weight = 1;

    static void parameters(auto& self, auto&& visit) { visit("weight", self.weight); }
    template <class X>
    X pair(const X& q, const X& k, Index) const {
        return q * k * X(weight);
    }
#ifdef ATTEND_TEST_VALID
    void pair_backward(auto q, auto k, Index, auto ds, Weighted& gradient) const {
        gradient.weight += static_cast<double>(sum(ds * q * k));
    }
#endif
};

void step(const Eigen::MatrixXf& x, const Eigen::VectorXf& lse, Eigen::MatrixXf& dx) {
    Eigen::MatrixXf out, dk, dv;
    Attention(Weighted{}).backward(x, x, x, out, lse, out, dx, dk, dv);
}

// expect: attend: the parameters of a recurrent mixer are float or double: sums in 16 bits would stop growing
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
using Scalar = float;
#else
using Scalar = Eigen::half;
#endif

struct Scaled {
    static constexpr bool causal = true;
    Eigen::Matrix<Scalar, 1, 1> scale{Scalar(1)};

    static void parameters(auto& self, auto&& visit) { visit("scale", self.scale); }
    StateShape state(const Shape& shape) const { return {1, shape.d_v}; }
    void absorb(const auto&, const auto& v, auto& state) const { state = v; }
    void read(const auto&, const auto& state, auto& out) const { out = static_cast<float>(scale(0)) * state; }
    void absorb_backward(const auto&, const auto&, const auto&, auto& dstate, auto&, auto& dv, Scaled*) const {
        dv += dstate;
        dstate.setZero();
    }
    void read_backward(const auto&, const auto& state, const auto& dout, auto&, auto& dstate, Scaled* gradient) const {
        dstate += static_cast<float>(scale(0)) * dout;
        if (gradient != nullptr) gradient->scale(0) += static_cast<Scalar>(dout.dot(state.row(0)));
    }
};

void train(const Eigen::MatrixXf& x, const Eigen::MatrixXf& out, Eigen::MatrixXf& dx, Recurrent<Scaled>& gradient) {
    Eigen::MatrixXf dk, dv;
    recurrent(Scaled{}).backward(x, x, x, out, Eigen::MatrixXf(), out, dx, dk, dv, {.gradient = &gradient});
}

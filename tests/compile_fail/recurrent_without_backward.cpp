// expect: attend: a recurrent mixer has causal, state, absorb, read, absorb_backward and read_backward, as
// mixer/mixer.hpp says
#include <attend/attend.hpp>

using namespace attend;

struct Last {
    static constexpr bool causal = true;
    StateShape state(const Shape& shape) const { return {1, shape.d_v}; }
    void absorb(const auto&, const auto& v, auto& state) const { state = v; }
    void read(const auto&, const auto& state, auto& out) const { out = state; }
    void absorb_backward(const auto&, const auto&, const auto&, auto& dstate, auto&, auto& dv, Last*) const {
        dv += dstate;
        dstate.setZero();
    }
#ifdef ATTEND_TEST_VALID
    void read_backward(const auto&, const auto&, const auto& dout, auto&, auto& dstate, Last*) const { dstate += dout; }
#endif
};

void mix(const Eigen::MatrixXf& x, Eigen::MatrixXf& out) { recurrent(Last{})(x, x, x, out); }

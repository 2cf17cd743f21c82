// expect: attend: this recurrent mixer does not fit numbers of the call's type: are its functions of other ones?
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
using Scalar = double;
#else
using Scalar = float;
#endif
using Row = MixerRowIn<Scalar>;
using State = MixerState<Scalar>;

struct Last {
    static constexpr bool causal = true;
    StateShape state(const Shape& shape) const { return {1, shape.d_v}; }
    void absorb(const Row&, const Row& v, State& state) const { state = v; }
    void read(const Row&, const MixerStateIn<Scalar>& state, MixerRow<Scalar>& out) const { out = state; }
    void absorb_backward(const Row&, const Row&, const MixerStateIn<Scalar>&, State& dstate, MixerRow<Scalar>&,
                         MixerRow<Scalar>& dv, Last*) const {
        dv += dstate;
        dstate.setZero();
    }
    void read_backward(const Row&, const MixerStateIn<Scalar>&, const Row& dout, MixerRow<Scalar>&, State& dstate,
                       Last*) const {
        dstate += dout;
    }
};

void mix(const Eigen::MatrixXd& x, Eigen::MatrixXd& out) { recurrent(Last{})(x, x, x, out); }

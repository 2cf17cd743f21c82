// expect: attend: a block needs a mixer, as mixer/mixer.hpp says: an attention, or recurrent(mixer) of one that absorbs
// and reads
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
    void read_backward(const auto&, const auto&, const auto& dout, auto&, auto& dstate, Last*) const { dstate += dout; }
};

#ifdef ATTEND_TEST_VALID
using Mix = Recurrent<Last>;
#else
using Mix = Last;
#endif

Eigen::MatrixXf mix(const MultiHeadAttention<float, Mix>& block, const Eigen::MatrixXf& x) { return block(x); }

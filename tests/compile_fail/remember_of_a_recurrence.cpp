// expect: attend: only blocks of attentions read caches: this block's mixer is none
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
using Mix = ScaledDotProductAttention;
#else
using Mix = Recurrent<Last>;
#endif

void decode(const MultiHeadAttention<float, Mix>& block, const Eigen::MatrixXf& memory, KvCache<float>& cache) {
    block.remember(memory, cache);
}

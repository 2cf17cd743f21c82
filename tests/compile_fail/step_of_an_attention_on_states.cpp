// expect: attend: only blocks of recurrent mixers keep states: this block's mixer is none, give it a cache of keys
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
using Mix = Recurrent<LinearAttention>;
#else
using Mix = ScaledDotProductAttention;
#endif

void step(const MultiHeadAttention<float, Mix>& block, const Eigen::MatrixXf& x, RecurrentCache<float>& states) {
    Eigen::MatrixXf y;
    block.step(x, states, y);
}

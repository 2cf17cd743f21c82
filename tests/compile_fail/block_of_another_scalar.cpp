// expect: attend: the inputs of a block must have its scalar type: cast them first
#include <attend/attend.hpp>

using namespace attend;

Eigen::MatrixXf attend_to(const MultiHeadAttention<float>& block, const Eigen::MatrixXd& x) {
#ifdef ATTEND_TEST_VALID
    return block(x.cast<float>());
#else
    return block(x);
#endif
}

// expect: attend: all operands must have one scalar type: cast them first
#include <attend/attend.hpp>

using namespace attend;

Eigen::MatrixXf attend_to(const Eigen::MatrixXf& q, const Eigen::MatrixXd& k) {
#ifdef ATTEND_TEST_VALID
    return scaled_dot_product(q, k.cast<float>(), k.cast<float>());
#else
    return scaled_dot_product(q, k, k);
#endif
}

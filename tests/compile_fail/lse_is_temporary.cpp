// expect: attend: this output is a temporary matrix, gone with what is written to it: give it a name
#include <attend/attend.hpp>

using namespace attend;

void call(const Eigen::MatrixXf& x, Eigen::MatrixXf& out) {
    Eigen::VectorXf lse;
#ifdef ATTEND_TEST_VALID
    scaled_dot_product(x, x, x, out, {.lse = lse});
#else
    scaled_dot_product(x, x, x, out, {.lse = Eigen::VectorXf(5)});
#endif
}

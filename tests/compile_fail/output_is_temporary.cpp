// expect: attend: this output is a temporary matrix, gone with what is written to it: give it a name
#include <attend/attend.hpp>

using namespace attend;

void call(const Eigen::MatrixXf& x, Eigen::MatrixXf& out) {
#ifdef ATTEND_TEST_VALID
    scaled_dot_product(x, x, x, out.leftCols(4));
    scaled_dot_product(x, x, x, Eigen::Map<Eigen::MatrixXf>(out.data(), 3, 4));
#else
    scaled_dot_product(x, x, x, Eigen::MatrixXf(out));
#endif
}

// expect: attend: heads(x, n) of a temporary x is no output, it is gone with what is written to it: give x a name
#include <attend/attend.hpp>

using namespace attend;

void call(const Eigen::MatrixXf& x) {
#ifdef ATTEND_TEST_VALID
    Eigen::MatrixXf out(3, 8);
    scaled_dot_product(heads((2 * x).eval(), 2), heads(x, 2), heads(x, 2), heads(out, 2));
#else
    scaled_dot_product(heads(x, 2), heads(x, 2), heads(x, 2), heads(Eigen::MatrixXf(3, 8), 2));
#endif
}

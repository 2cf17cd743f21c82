// expect: attend: options borrow this input, and it is a temporary matrix: give it a name
#include <attend/attend.hpp>

using namespace attend;

void step(const Eigen::MatrixXf& x, const Eigen::VectorXf& lse, Eigen::MatrixXf& dx) {
#ifdef ATTEND_TEST_VALID
    const Eigen::VectorXf dlse = Eigen::VectorXf::Ones(5);
    scaled_dot_product.backward(x, x, x, x, lse, x, dx, dx, dx, {.dlse = dlse});
#else
    scaled_dot_product.backward(x, x, x, x, lse, x, dx, dx, dx, {.dlse = Eigen::VectorXf::Ones(5).eval()});
#endif
}

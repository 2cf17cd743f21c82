// expect: attend: lse must have the scalar type that the attention computes in
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
using Lse = Eigen::VectorXf;
#else
using Lse = Eigen::VectorXd;
#endif

void step(const Eigen::MatrixXf& x, const Eigen::MatrixXf& out, const Lse& lse, Eigen::MatrixXf& dx) {
    Eigen::MatrixXf dk, dv;
    scaled_dot_product.backward(x, x, x, out, lse, out, dx, dk, dv);
}

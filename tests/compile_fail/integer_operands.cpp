// expect: attend: operands must hold floating-point numbers: cast them first
#include <attend/attend.hpp>

using namespace attend;

int main() {
    const Eigen::MatrixXi x = Eigen::MatrixXi::Identity(3, 3);
#ifdef ATTEND_TEST_VALID
    const Eigen::MatrixXf q = x.cast<float>();
    const Eigen::MatrixXf out = scaled_dot_product(q, q, q);
#else
    Eigen::MatrixXi out;
    scaled_dot_product(x, x, x, out);
#endif
}

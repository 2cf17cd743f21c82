// expect: attend: an output is written to: it must be memory that is not const
#include <attend/attend.hpp>

using namespace attend;

int main() {
    const Eigen::MatrixXf x = Eigen::MatrixXf::Identity(3, 3);
    Eigen::MatrixXf out;
#ifdef ATTEND_TEST_VALID
    Eigen::VectorXf lse(3);
    scaled_dot_product(x, x, x, out, {.lse = lse});
#else
    const Eigen::VectorXf lse(3);
    scaled_dot_product(x, x, x, out, {.lse = lse});
#endif
}

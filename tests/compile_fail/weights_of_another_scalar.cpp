// expect: attend: an output must have the scalar type of the call
#include <attend/attend.hpp>

using namespace attend;

int main() {
    const Eigen::MatrixXf x = Eigen::MatrixXf::Identity(3, 3);
    Eigen::MatrixXf out;
#ifdef ATTEND_TEST_VALID
    Eigen::MatrixXf weights;
    scaled_dot_product(x, x, x, out, {.weights = weights});
#else
    Eigen::MatrixXd weights;
    scaled_dot_product(x, x, x, out, {.weights = weights});
#endif
}

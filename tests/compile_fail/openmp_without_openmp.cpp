// expect: attend: openmp(n) needs a build with OpenMP (-fopenmp)
#include <attend/attend.hpp>

using namespace attend;

void attend_to(const Eigen::MatrixXf& x, Eigen::MatrixXf& out) {
#ifdef ATTEND_TEST_VALID
    scaled_dot_product(x, x, x, out, {.executor = serial});
#else
    scaled_dot_product(x, x, x, out, {.executor = openmp(2)});
#endif
}

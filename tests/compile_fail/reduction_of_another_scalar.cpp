// expect: attend: a reduction needs void start(const WeightsShape&) and void take(const WeightsTile<T>&), where T is
// the scalar that the call computes in
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
using T = float;
#else
using T = double;
#endif

void call(const Eigen::MatrixXf& x, Eigen::MatrixXf& out) {
    auto entropy = row_entropy<T>();
    scaled_dot_product(x, x, x, out, {.insight = entropy});
}

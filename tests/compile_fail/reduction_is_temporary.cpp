// expect: attend: this reduction is a temporary, gone with what it finds: give it a name
#include <attend/attend.hpp>

using namespace attend;

void call(const Eigen::MatrixXf& x, Eigen::MatrixXf& out) {
#ifdef ATTEND_TEST_VALID
    auto entropy = row_entropy<float>();
    scaled_dot_product(x, x, x, out, {.insight = entropy});
#else
    scaled_dot_product(x, x, x, out, {.insight = row_entropy<float>()});
#endif
}

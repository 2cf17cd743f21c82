// expect: attend: this modifier takes no dual numbers, so its derivative is unknown: write it as [](auto s, auto p) { …
// }
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> modifier([](auto s, auto) { return s * s; });
#else
auto attention = scaled_dot_product >> modifier([](float s, const Position&) { return s * s; });
#endif

void step(const Eigen::MatrixXf& x, const Eigen::VectorXf& lse, Eigen::MatrixXf& dx) {
    Eigen::MatrixXf out, dk, dv;
    attention(x, x, x, out);
    attention.backward(x, x, x, out, lse, out, dx, dk, dv);
}

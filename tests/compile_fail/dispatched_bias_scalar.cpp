// expect: attend: dispatched: a bias must have the scalar type that the call computes in
#include <attend/attend.hpp>
#include <attend/dispatch.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
inline Eigen::MatrixXf f(const Eigen::MatrixXf& x) { return dispatched(scaled_dot_product >> bias(x))(x, x, x); }
#else
inline Eigen::MatrixXd f(const Eigen::MatrixXf& x) {
    const Eigen::MatrixXd y = x.cast<double>();
    return dispatched(scaled_dot_product >> bias(x))(y, y, y);
}
#endif

// expect: attend: heads(x, n) views memory: evaluate the expression first, heads(x.eval(), n)
#include <attend/attend.hpp>

using namespace attend;

Index width(const Eigen::MatrixXf& x) {
#ifdef ATTEND_TEST_VALID
    const Eigen::MatrixXf twice = 2 * x;
    return heads(twice, 4).columns;
#else
    return heads(2 * x, 4).columns;
#endif
}

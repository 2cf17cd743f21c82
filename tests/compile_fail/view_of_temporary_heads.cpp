// expect: attend: a view of heads(x, n) would outlive x, which is a temporary here: give it a name
#include <attend/attend.hpp>

using namespace attend;

Index width(const Eigen::MatrixXf& x) {
#ifdef ATTEND_TEST_VALID
    const Eigen::MatrixXf twice = 2 * x;
    const StridedView<const float> view = heads(twice, 4);
#else
    const StridedView<const float> view = heads((2 * x).eval(), 4);
#endif
    return view.columns;
}

// expect: attend: options borrow query_positions, and this vector is a temporary: give it a name
#include <vector>

#include <attend/attend.hpp>

using namespace attend;

inline Eigen::MatrixXf ask(const Eigen::MatrixXf& x, const std::vector<Index>& positions) {
#ifdef ATTEND_TEST_VALID
    return dot_product(x, x, x, {.query_positions = positions});
#else
    return dot_product(x, x, x, {.query_positions = std::vector<Index>(positions)});
#endif
}

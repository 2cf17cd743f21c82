// expect: of a std::vector or other
#include <attend/attend.hpp>
#include <vector>
using namespace attend;

int main() {
    const std::vector<float> v(9);
    const Eigen::MatrixXf x = Eigen::MatrixXf::Identity(3, 3);
    Eigen::MatrixXf out;
#ifdef ATTEND_TEST_VALID
    scaled_dot_product(x, x, Eigen::Map<const Eigen::MatrixXf>(v.data(), 3, 3), out, {.query_offset = 1});
#else
    scaled_dot_product(x, x, v, out, {.query_offset = 1});
#endif
}

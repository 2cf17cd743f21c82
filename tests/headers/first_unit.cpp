#include <attend/attend.hpp>

Eigen::MatrixXf attend_in_second_unit(const Eigen::MatrixXf& x);

int main() {
    const Eigen::MatrixXf x = Eigen::MatrixXf::Identity(3, 3);
    const Eigen::MatrixXf here = attend::scaled_dot_product(x, x, x);
    return here == attend_in_second_unit(x) ? 0 : 1;
}

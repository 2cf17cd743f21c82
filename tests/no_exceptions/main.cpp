// Built without exceptions: a call that fits computes, one that does not prints its text and aborts.
#include <attend/attend.hpp>

#include <cstdio>

int main() {
    const Eigen::MatrixXf q = Eigen::MatrixXf::Zero(2, 4), k = Eigen::MatrixXf::Zero(3, 4),
                          v = Eigen::MatrixXf::Ones(3, 2);
    const Eigen::MatrixXf mean = attend::scaled_dot_product(q, k, v);
    std::printf("the mean is %g\n", static_cast<double>(mean(1, 1)));
    std::fflush(stdout);
    attend::scaled_dot_product(q, v, v);
    std::printf("this is not reached\n");
}

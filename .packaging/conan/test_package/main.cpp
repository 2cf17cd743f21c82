#include <attend/attend.hpp>

#include <iostream>

int main() {
    const Eigen::MatrixXf x = Eigen::MatrixXf::Identity(3, 3), y = attend::scaled_dot_product(x, x, x);
    std::cout << "attend " << attend::version << '\n' << y << '\n';
    return y(0, 0) > y(0, 1) ? 0 : 1;
}

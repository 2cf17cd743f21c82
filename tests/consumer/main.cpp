// What a stranger's first program looks like. Equal scores weigh both values equally, so the answer is their mean.
#include <attend/attend.hpp>

#include <cmath>
#include <iostream>

int main() {
    const Eigen::MatrixXf query = Eigen::MatrixXf::Ones(1, 2);
    const Eigen::MatrixXf keys = Eigen::MatrixXf::Ones(2, 2);
    const Eigen::MatrixXf values{{1.f, 2.f}, {3.f, 4.f}};

    const Eigen::MatrixXf out = attend::scaled_dot_product(query, keys, values);
    std::cout << "attend " << attend::version << ": " << out << '\n';
    const bool mean = std::abs(out(0, 0) - 2.f) < 1e-6f && std::abs(out(0, 1) - 3.f) < 1e-6f;
    return mean && attend::version == PACKAGE_VERSION ? 0 : 1;
}

// A stranger's program for every processor. Equal scores weigh both values equally, so the answer is their mean.
#include <attend/attend.hpp>
#include <attend/dispatch.hpp>

#include <cmath>
#include <iostream>

int main() {
    const Eigen::MatrixXf query = Eigen::MatrixXf::Ones(1, 2);
    const Eigen::MatrixXf keys = Eigen::MatrixXf::Ones(2, 2);
    const Eigen::MatrixXf values{{1.f, 2.f}, {3.f, 4.f}};

    const auto attention = attend::dispatched(attend::scaled_dot_product);
    const Eigen::MatrixXf out = attention(query, keys, values);
    std::cout << "attend " << attend::version << " by " << attend::dispatch_level() << ": " << out << '\n';
    return std::abs(out(0, 0) - 2.f) < 1e-6f && std::abs(out(0, 1) - 3.f) < 1e-6f ? 0 : 1;
}

#pragma once

#include "numbers.hpp"

#include <cmath>

namespace support {

/// The largest difference, over every single number, between a gradient and differences of `loss()` in double: two
/// central ones, combined so that what is left of the error falls with the fourth power of the shift.
template <class Model, class Loss>
double worst_gradient_error(Model& model, Model& gradient, const Loss& loss) {
    constexpr double shift = 2e-5;
    double worst = 0;
    const Numbers<double> parameters = numbers_of<double>(model);
    const Numbers<double> gradients = numbers_of<double>(gradient);
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        for (std::size_t i = 0; i < parameters[p].size(); ++i) {
            double& number = parameters[p][i];
            const double kept = number;
            const auto slope = [&](double by) {
                number = kept + by;
                const double above = loss();
                number = kept - by;
                const double below = loss();
                number = kept;
                return (above - below) / (2 * by);
            };
            const double difference = (4 * slope(shift) - slope(2 * shift)) / 3;
            worst = std::max(worst, std::abs(difference - gradients[p][i]));
        }
    }
    return worst;
}

}  // namespace support

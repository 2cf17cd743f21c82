#pragma once

#include "finite.hpp"

namespace support {

/// Adam (Kingma and Ba 2015), with the gradient's norm cut to at most 1 first, since the gradient of a recurrent net or
/// of a young Transformer may burst. Weights decay beside the gradient, not in it (Loshchilov and Hutter 2019).
template <class T>
class Adam {
public:
    /// `second_decay`: of the average of squares; a short run wants a shorter memory than the paper's.
    explicit Adam(T decay = 0, T second_decay = T(0.999)) : decay_(decay), second_decay_(second_decay) {}

    /// Throws NotFinite where the gradient or what it makes of the parameters is not finite.
    void step(const Numbers<T>& parameters, const Numbers<T>& gradients, T rate) {
        if (moments_.empty()) {
            for (const auto& parameter : parameters) moments_.emplace_back(parameter.size());
        }
        ++steps_;
        double squares = 0;  // in double, where the squares of floats do not overflow
        for (const auto& gradient : gradients)
            for (const T g : gradient) squares += static_cast<double>(g) * static_cast<double>(g);
        if (!std::isfinite(squares)) throw diverged("the gradient", steps_);
        const T cut = static_cast<T>(1 / std::max(1.0, std::sqrt(squares)));

        const T first_bias = T(1) - std::pow(first_decay, static_cast<T>(steps_));
        const T second_bias = T(1) - std::pow(second_decay_, static_cast<T>(steps_));
        for (std::size_t p = 0; p < parameters.size(); ++p) {
            for (std::size_t i = 0; i < parameters[p].size(); ++i) {
                const T g = cut * gradients[p][i];
                Moments& m = moments_[p][i];
                m.first = first_decay * m.first + (T(1) - first_decay) * g;
                m.second = second_decay_ * m.second + (T(1) - second_decay_) * g * g;
                const T change = rate * (m.first / first_bias) / (std::sqrt(m.second / second_bias) + T(1e-8));
                parameters[p][i] -= change + rate * decay_ * parameters[p][i];
            }
        }
        if (!are_finite(parameters)) throw diverged("a weight", steps_);
    }

private:
    static constexpr T first_decay = T(0.9);

    struct Moments {
        T first = 0;
        T second = 0;
    };
    T decay_, second_decay_;
    std::vector<std::vector<Moments>> moments_;  // one for each parameter
    int steps_ = 0;
};

}  // namespace support

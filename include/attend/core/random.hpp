#pragma once
/// \file
/// Initial weights that are the same on every platform: the standard library's distributions are not.

#include <cmath>
#include <cstdint>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {

/// SplitMix64 (Steele, Lea and Flood 2014): a small generator whose every seed gives a full-period stream.
class Random {
public:
    /// The same numbers of the same seed, on any machine.
    explicit Random(std::uint64_t seed) : state_(seed) {}

    /// The next 64 bits.
    std::uint64_t operator()() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    /// Uniform in [0, 1), in steps of 2⁻⁵³.
    double uniform() { return static_cast<double>((*this)() >> 11) * 0x1p-53; }

private:
    std::uint64_t state_;
};

/// Fills `weight` (in × out) with Xavier's uniform distribution, ±√(6 / (in + out)) (Glorot and Bengio 2010).
/// O(in · out).
template <class Derived>
void fill_xavier(Eigen::DenseBase<Derived>& weight, Random& random) {
    const double bound = std::sqrt(6.0 / static_cast<double>(weight.rows() + weight.cols()));
    for (Index row = 0; row < weight.rows(); ++row) {
        for (Index column = 0; column < weight.cols(); ++column) {
            weight.coeffRef(row, column) =
                static_cast<typename Derived::Scalar>(bound * (2.0 * random.uniform() - 1.0));
        }
    }
}

}  // namespace attend

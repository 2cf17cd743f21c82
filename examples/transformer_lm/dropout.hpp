#pragma once

#include "../support/layers.hpp"
#include "../support/random.hpp"

namespace transformer_lm {

/// Leaves out a share of the numbers of a matrix and enlarges the others to make up for them (Srivastava et al. 2014).
/// Of a short text a model would otherwise know all by heart before it knew its language.
class Dropout {
public:
    Dropout() = default;  ///< leaves nothing out: how a trained model runs
    Dropout(double share, std::uint64_t seed) : share_(share), random_(seed) {}

    /// Changes x and keeps in `factors` what `backward` needs.
    template <class T, class C = attend::Compute<T>>
    void forward(support::Rows<T>& x, support::Rows<C>& factors) {
        factors.resize(share_ > 0 ? x.rows() : 0, x.cols());
        if (factors.size() == 0) return;
        // Four decisions of 16 bits from each draw.
        const auto limit = static_cast<std::uint64_t>(share_ * 0x1p16);
        const C kept = C(1) / (C(1) - static_cast<C>(share_));
        std::uint64_t bits = 0;
        for (Eigen::Index i = 0; i < factors.size(); ++i, bits >>= 16) {
            if (i % 4 == 0) bits = random_.bits();
            factors.data()[i] = (bits & 0xffffU) < limit ? C(0) : kept;
        }
        backward(x, factors);
    }

    template <class T, class C = attend::Compute<T>>
    static void backward(support::Rows<T>& dx, const support::Rows<C>& factors) {
        if (factors.rows() > 0) dx = (dx.array().template cast<C>() * factors.array()).template cast<T>();
    }

private:
    double share_ = 0;
    support::Random random_{0};
};

}  // namespace transformer_lm

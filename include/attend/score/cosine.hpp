#pragma once
/// \file
/// Cosine score.

#include <attend/core/concepts.hpp>

namespace attend {

/// s = scale · cos(q, k), with a learned scale, the inverse temperature (Graves et al. 2014; Liu et al. 2021, Swin V2).
/// A vector of length 0 has cosine 0 with every other, and gradient 0.
struct CosineScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

    double scale = 1.0;

    constexpr CosineScore() = default;
    constexpr explicit CosineScore(double scale_) : scale(scale_) {}

    static void parameters(auto& self, auto&& visit) { visit("scale", self.scale); }

    template <class Rows, class Mapped>
    void map_queries(const Rows& q, Mapped& mapped) const {
        using T = typename Mapped::Scalar;
        normalize_rows(q, mapped);
        mapped *= static_cast<T>(scale);
    }
    template <class Rows, class Mapped>
    void map_keys(const Rows& k, Mapped& mapped) const {
        normalize_rows(k, mapped);
    }
    template <class Rows, class Mapped, class Gradient>
    void map_queries_backward(const Rows& q, const Mapped& dmapped, Gradient& dq, CosineScore* gradient) const {
        using T = typename Mapped::Scalar;
        const T dscale = normalize_rows_backward(q, dmapped, static_cast<T>(scale), dq);
        if (gradient != nullptr) gradient->scale += static_cast<double>(dscale);
    }
    template <class Rows, class Mapped, class Gradient>
    void map_keys_backward(const Rows& k, const Mapped& dmapped, Gradient& dk, CosineScore*) const {
        normalize_rows_backward(k, dmapped, typename Mapped::Scalar(1), dk);
    }

private:
    template <class Rows, class Mapped>
    static void normalize_rows(const Rows& x, Mapped& unit) {
        using T = typename Mapped::Scalar;
        unit = x.template cast<T>();
        for (Index i = 0; i < unit.rows(); ++i) {
            const T norm = unit.row(i).stableNorm();  // stable: 1e30 squared does not fit a float
            if (norm != T(0)) unit.row(i) /= norm;
        }
    }
    /// Of y = factor · x / |x|: adds dL/dx, returns dL/dfactor = Σ dy · x / |x|.
    template <class Rows, class Mapped, class Gradient>
    static auto normalize_rows_backward(const Rows& x, const Mapped& dy, typename Mapped::Scalar factor, Gradient& dx) {
        using T = typename Mapped::Scalar;
        T dfactor(0);
        for (Index i = 0; i < x.rows(); ++i) {
            if ((dy.row(i).array() == T(0)).all()) continue;  // a masked row may hold NaN
            const T norm = x.row(i).template cast<T>().stableNorm();
            if (norm == T(0)) continue;
            const T along = x.row(i).template cast<T>().dot(dy.row(i)) / norm;
            dfactor += along;
            dx.row(i) += ((dy.row(i) - x.row(i).template cast<T>() * (along / norm)) * (factor / norm))
                             .template cast<typename Gradient::Scalar>();
        }
        return dfactor;
    }
};

}  // namespace attend

#pragma once
/// \file
/// Cosine score.

#include <cmath>

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
    // Sums run in the order of the features: Eigen's would depend on where a row stands in memory, and so its bits on
    // the batch.

    /// |x|, scaled so that neither 1e30 nor 1e-30 squared leaves the range of a float.
    template <class T, class Row>
    static T norm(const Row& x) {
        using std::abs, std::sqrt;
        T most(0), sum(0);
        for (Index a = 0; a < x.size(); ++a) {
            const T size = abs(static_cast<T>(x[a]));
            most = size > most || size != size ? size : most;
        }
        if (most == T(0)) return T(0);
        for (Index a = 0; a < x.size(); ++a) {
            const T part = static_cast<T>(x[a]) / most;
            sum += part * part;
        }
        return most * sqrt(sum);
    }
    template <class Rows, class Mapped>
    static void normalize_rows(const Rows& x, Mapped& unit) {
        using T = typename Mapped::Scalar;
        for (Index i = 0; i < x.rows(); ++i) {
            const T length = norm<T>(x.row(i));
            unit.row(i) = x.row(i).template cast<T>() / (length == T(0) ? T(1) : length);
        }
    }
    /// Of y = factor · x / |x|: adds dL/dx, returns dL/dfactor = Σ dy · x / |x|.
    template <class Rows, class Mapped, class Gradient>
    static auto normalize_rows_backward(const Rows& x, const Mapped& dy, typename Mapped::Scalar factor, Gradient& dx) {
        using T = typename Mapped::Scalar;
        T dfactor(0);
        for (Index i = 0; i < x.rows(); ++i) {
            if ((dy.row(i).array() == T(0)).all()) continue;  // a masked row may hold NaN
            const T length = norm<T>(x.row(i));
            if (length == T(0)) continue;
            T along(0);
            for (Index a = 0; a < x.cols(); ++a) along += static_cast<T>(x(i, a)) / length * dy(i, a);
            dfactor += along;
            for (Index a = 0; a < x.cols(); ++a) {
                const T unit = static_cast<T>(x(i, a)) / length;
                dx(i, a) += static_cast<typename Gradient::Scalar>((dy(i, a) - unit * along) * (factor / length));
            }
        }
        return dfactor;
    }
};

}  // namespace attend

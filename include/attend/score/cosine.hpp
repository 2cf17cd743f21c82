#pragma once
/// \file
/// Cosine score.

#include <algorithm>
#include <cmath>
#include <limits>

#include <attend/core/concepts.hpp>
#include <attend/core/row_norm.hpp>

namespace attend::inline ATTEND_ABI {

/// s = scale · cos(q, k), with a learned scale, the inverse temperature (Graves et al. 2014; Liu et al. 2021, Swin V2).
/// A vector of length 0 has cosine 0 with every other, and gradient 0.
struct CosineScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

    double scale = 1.0;  ///< trains

    constexpr CosineScore() = default;
    /// With that scale.
    constexpr explicit CosineScore(double scale_) : scale(scale_) {}

    static void parameters(auto& self, auto&& visit) { visit("scale", self.scale); }
    auto spelled(const auto& say) const { return say("cosine", scale); }

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
    template <class T>
    static void divide(T* row, Index size, T length) {
        namespace simd = detail::simd;
        constexpr Index w = simd::width<T>;
        const T inverse = T(1) / length;
        if (!(inverse <= std::numeric_limits<T>::max())) {  // that of a denormal number
            for (Index a = 0; a < size; ++a) row[a] /= length;
            return;
        }
        const auto y = simd::broadcast(length), one_by_y = simd::broadcast(inverse);
        for (Index a = 0; a < size; a += w) {
            const Index count = std::min(w, size - a);
            simd::store<T>(row + a, simd::divided(simd::load(row + a, count, T(0)), y, one_by_y), count);
        }
    }
    template <class Rows, class Mapped>
    static void normalize_rows(const Rows& x, Mapped& unit) {
        using T = typename Mapped::Scalar;
        for (Index i = 0; i < x.rows(); ++i) {
            T* const row = unit.data() + i * unit.outerStride();
            const auto x_i = detail::feature_row<T>(x, i);
            const detail::FeatureRow<T, T> y_i{row};
            detail::by_packets<T>(x.cols(), [&](Index a, Index n) { y_i.store(a, n, x_i.load(a, n)); });
            const T length = detail::row_length<T>(x.cols(), [&](Index a, Index n) { return y_i.load(a, n); });
            if (length == T(0)) continue;
            divide(row, x.cols(), length);
        }
    }
    /// Of y = factor · x / |x|: adds dL/dx, returns dL/dfactor = Σ dy · x / |x|.
    template <class Rows, class Mapped, class Gradient>
    static auto normalize_rows_backward(const Rows& x, const Mapped& dy, typename Mapped::Scalar factor, Gradient& dx) {
        using T = typename Mapped::Scalar;
        T dfactor(0);
        for (Index i = 0; i < x.rows(); ++i) {
            if ((dy.row(i).array() == T(0)).all()) continue;  // a masked row may hold NaN
            const auto x_i = detail::feature_row<T>(x, i);
            const T length = detail::row_length<T>(x.cols(), [&](Index a, Index n) { return x_i.load(a, n); });
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

#pragma once
/// \file
/// Luong's local attention with predicted centres.

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/math.hpp>
#include <attend/core/output.hpp>
#include <attend/core/random.hpp>
#include <attend/engine/row_products.hpp>

namespace attend::inline ATTEND_ABI {

/// s ↦ s − (key − p)² / (2σ²) where |key − p| ≤ reach, σ = reach / 2, and −∞ elsewhere, with a centre p for each query
/// that trains (Luong et al. 2015, "local-p"). So weights are multiplied by the Gaussian before they are divided by
/// their sum. The paper multiplies after, and its weights do not add up to 1: its output is this one times e^{L − L₀},
/// of the LSE L of this attention and L₀ of the scores within the window alone.
struct LocalP {
    static constexpr Kind kind = Kind::modifier;

    /// (sequences · queries) × 1, or × heads; of ragged sequences every one has the rows of the longest.
    Eigen::MatrixXd centre;
    double reach = 1;     ///< D = 2σ, in keys
    Index sequences = 1;  ///< 1: the centres serve all sequences

    static void parameters(auto& self, auto&& visit) { visit("centre", self.centre); }
    auto spelled(const auto& say) const { return say("local_p", centre, reach, say.when(sequences != 1, sequences)); }
    void check(const Shape& shape) const {
        detail::require(sequences == 1 || sequences == shape.sequences, "local_p: holds ", sequences,
                        " sequences, the call has ", shape.sequences);
        detail::require(
            centre.rows() == sequences * shape.queries && (centre.cols() == 1 || centre.cols() == shape.heads),
            detail::named("centre", centre.rows(), centre.cols()), " must have a row for each of ",
            sequences * shape.queries, " queries, and one column or one for each of ", shape.heads, " heads");
    }

    auto operator()(auto s, auto p) const {
        using std::abs;
        using V = detail::ValueOf<decltype(s)>;
        const V distance = V(p.key) - centre_of<V>(p), per_sigma = distance * V(2 / reach);
        return select(abs(distance) <= V(reach), s - V(0.5) * per_sigma * per_sigma,
                      V(-std::numeric_limits<double>::infinity()));
    }
    template <class S, class P>
    void backward(S, const P& p, S ds_out, LocalP& gradient) const {
        using std::abs;
        const S distance = S(p.key) - centre_of<S>(p);
        const S d = select(abs(distance) <= S(reach), ds_out * distance * S(4 / (reach * reach)), S(0));
        double* const to = gradient.centre.data() + index(p);
        if constexpr (std::is_same_v<decltype(p.row), Index>) {
            *to += static_cast<double>(sum(d));
        } else {
            using C = detail::PositionScalar<P>;
            C lanes[detail::simd::width<C>];
            detail::simd::store(lanes, d.packet);
            for (Index i = 0; i < p.row.count; ++i) to[i] += static_cast<double>(lanes[i]);
        }
    }

private:
    /// Of the first query of a position.
    template <class P>
    Index index(const P& p) const {
        Index row = detail::first_row(p);
        if (sequences > 1) row += p.sequence * (centre.rows() / sequences);
        return row + (centre.cols() > 1 ? p.head * centre.rows() : 0);
    }
    template <class V, class P>
    V centre_of(const P& p) const {
        if constexpr (std::is_same_v<decltype(p.row), Index>) {
            return V(centre.data()[index(p)]);
        } else {
            return V::gather(centre.data() + index(p), 1, p.row.count);
        }
    }
};

/// `local_p(centres, 10)`: one centre a row, copied. Throws unless the reach is above 0, and sequences divide the rows.
template <detail::Dense X>
LocalP local_p(const X& centres, double reach, Index sequences = 1) {
    detail::require(reach > 0 && reach <= std::numeric_limits<double>::max(),
                    "local_p: the reach must be a number above 0, got ", reach);
    detail::require(sequences > 0 && centres.rows() % sequences == 0, "local_p: ", sequences,
                    " sequences do not divide the rows of ", detail::named("centres", centres.rows(), centres.cols()));
    return {centres.template cast<double>(), reach, sequences};
}

/// What predicts the centres: p = S · σ(vᵀ tanh(Wᵀ h)) of a decoder's states h, for S keys (Luong et al. 2015).
template <class T>
struct LocalCentres {
    static_assert(std::is_same_v<T, Compute<T>>, "attend: centres are predicted in float or double");
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> weight;  ///< W, d × hidden
    ColumnVector<T> score_weight;                             ///< v, hidden

    /// Xavier-uniform weights from `seed`.
    LocalCentres(Index d, Index hidden, std::uint64_t seed) : weight(d, hidden), score_weight(hidden) {
        Random random(seed);
        fill_xavier(weight, random);
        fill_xavier(score_weight, random);
    }

    static void parameters(auto& self, auto&& visit) {
        visit("weight", self.weight);
        visit("score_weight", self.score_weight);
    }

    /// The centre of each row of h, n × d, among `keys` keys, as `local_p` takes them. O(n · d · hidden). Throws where
    /// h has another width.
    template <detail::Dense H>
    Eigen::VectorXd operator()(const H& h, Index keys) const {
        check(h, keys);
        const RowMatrix<T> hidden = hidden_of(h);
        Eigen::VectorXd centres(h.rows());
        for (Index i = 0; i < h.rows(); ++i) centres[i] = static_cast<double>(keys) * share(hidden, i);
        return centres;
    }
    /// Of the gradient of the centres, n × 1, adds that of h, n × d, and, where one is given, of the parameters. An
    /// empty dh is resized. O(n · d · hidden). Throws where shapes do not fit.
    template <detail::Dense H, detail::Dense D>
    void backward(const H& h, Index keys, const D& dcentres, Output<T> dh, LocalCentres* gradient = nullptr) const {
        check(h, keys);
        detail::require(dcentres.size() == h.rows() && dcentres.rows() == h.rows(),
                        detail::named("dcentres", dcentres.rows(), dcentres.cols()), " must be ", h.rows(), "x1");
        detail::require(static_cast<bool>(dh), "the gradient dh must be given");
        dh.check("dh", 1, 1, h.rows(), h.cols());
        if (gradient != nullptr)
            detail::require(gradient != this && gradient->weight.rows() == weight.rows() &&
                                gradient->weight.cols() == weight.cols() &&
                                gradient->score_weight.size() == score_weight.size(),
                            "gradient: must be another value of the same shapes: make one by zero_gradient");
        const RowMatrix<T> rows = h, hidden = hidden_of(rows);
        RowMatrix<T> dhidden(h.rows(), weight.cols());
        for (Index i = 0; i < h.rows(); ++i) {
            const double p = share(hidden, i);
            const T slope =
                static_cast<T>(static_cast<double>(dcentres(i, 0)) * static_cast<double>(keys) * p * (1 - p));
            for (Index a = 0; a < weight.cols(); ++a)
                dhidden(i, a) = slope * score_weight[a] * (1 - hidden(i, a) * hidden(i, a));
            if (gradient != nullptr) gradient->score_weight += slope * hidden.row(i).transpose();
        }
        const auto to = dh.as(1, 1, h.rows(), h.cols());
        detail::Slice<T> dh_rows(to.data, to.rows, to.columns, {to.row_stride, to.column_stride});
        detail::add_row_products<T>(dhidden, weight.transpose(), dh_rows);
        if (gradient != nullptr) detail::add_outer_products(gradient->weight, rows, dhidden);
    }

private:
    template <class H>
    void check(const H& h, Index keys) const {
        static_assert(std::is_same_v<typename H::Scalar, T>, "attend: h must have the scalar type of the weights");
        detail::require(h.cols() == weight.rows() && score_weight.size() == weight.cols() && keys >= 0,
                        detail::named("h", h.rows(), h.cols()), " must have a column for each row of ",
                        detail::named("weight", weight.rows(), weight.cols()), ", which has a column for each of the ",
                        score_weight.size(), " values of score_weight; and keys not be negative, got ", keys);
    }
    template <class H>
    RowMatrix<T> hidden_of(const H& h) const {
        RowMatrix<T> hidden = RowMatrix<T>::Zero(h.rows(), weight.cols());
        detail::add_row_products<T>(RowMatrix<T>(h), weight, hidden);
        return hidden.array().tanh().matrix();
    }
    double share(const RowMatrix<T>& hidden, Index i) const {
        double sum = 0;
        for (Index a = 0; a < hidden.cols(); ++a)
            sum += static_cast<double>(hidden(i, a)) * static_cast<double>(score_weight[a]);
        return 1 / (1 + std::exp(-sum));
    }
};

}  // namespace attend

#pragma once
/// \file
/// Additive scores that also look at where a decoder has looked before.

#include <algorithm>
#include <cstdint>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/random.hpp>
#include <attend/score/additive.hpp>

namespace attend::inline ATTEND_ABI {

/// What a decoder's step knows of the steps before it.
enum class History {
    previous,  ///< the weights of the step before (Chorowski et al. 2015)
    sum        ///< those of all steps before, their coverage (See et al. 2017)
};

/// Sizes of a location-sensitive score. Without filters the history of a key is its only feature.
struct LocationShape {
    Index d_q = 0, d_k = 0, hidden = 0;   ///< widths of queries, of keys, and of what both are projected to
    Index filters = 0;                    ///< features that a convolution makes of the history
    Index radius = 0;                     ///< of its filters, which have 2 · radius + 1 taps
    History history = History::previous;  ///< what a step knows
};

/// s_j = vᵀ tanh(Wqᵀ q + Wkᵀ k_j + Wfᵀ f_j + b), where f_j = Σ_t filters(·, t) · h_{j + t − radius} of the history h of
/// a decoder's weights, 0 beyond its ends, or f_j = h_j without filters. `LocationDecoder` steps with it; a call by
/// itself is a first step, before which nothing has been looked at: the additive score.
template <class T>
struct LocationScore : AdditiveScore<T> {
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> location_weight;  ///< Wf, features × hidden
    RowMatrix<T> filters;                                              ///< features × taps; empty: none
    History history = History::previous;                               ///< what a step knows

    /// Xavier-uniform weights and filters from `seed`, bias 0. Throws where a size is negative, or where there is a
    /// radius without filters.
    LocationScore(const LocationShape& shape, std::uint64_t seed)
        : AdditiveScore<T>(shape.d_q, shape.d_k, shape.hidden, seed), history(shape.history) {
        detail::require(shape.filters >= 0 && shape.radius >= 0 && (shape.filters > 0 || shape.radius == 0),
                        "location: filters and radius must not be negative, and radius be 0 without filters, got ",
                        shape.filters, " and ", shape.radius);
        location_weight.resize(std::max<Index>(shape.filters, 1), shape.hidden);
        if (shape.filters > 0) filters.resize(shape.filters, 2 * shape.radius + 1);
        Random random(seed + 1);
        fill_xavier(location_weight, random);
        fill_xavier(filters, random);
    }

    /// The same score with parameters of C.
    template <class C>
    LocationScore<C> cast() const {
        LocationScore<C> score({}, 0);
        static_cast<AdditiveScore<C>&>(score) = AdditiveScore<T>::template cast<C>();
        score.location_weight = location_weight.template cast<C>();
        score.filters = filters.template cast<C>();
        score.history = history;
        return score;
    }

    static void parameters(auto& self, auto&& visit) {
        AdditiveScore<T>::parameters(self, visit);
        visit("location_weight", self.location_weight);
        visit("filters", self.filters);
    }
    auto spelled(const auto& say) const {
        const bool sum = history == History::sum, convolves = filters.size() > 0;
        return say(
            say.of("LocationSensitiveAttention", T()),
            say.record(
                "", say.field(true, "d_q", this->query_weight.rows()), say.field(true, "d_k", this->key_weight.rows()),
                say.field(true, "hidden", this->score_weight.size()), say.field(convolves, "filters", filters.rows()),
                say.field(convolves, "radius", filters.cols() / 2), say.field(sum, "history", "History::sum")),
            "seed");
    }

    void check(const Shape& shape) const {
        AdditiveScore<T>::check(shape);
        const Index features = filters.size() == 0 ? 1 : filters.rows();
        detail::require(location_weight.rows() == features && location_weight.cols() == this->score_weight.size(),
                        "the location score's ",
                        detail::named("location_weight", location_weight.rows(), location_weight.cols()), " must be ",
                        features, "x", this->score_weight.size(), ": features x hidden");
        detail::require(filters.size() == 0 || filters.cols() % 2 == 1, "the location score's ",
                        detail::named("filters", filters.rows(), filters.cols()), " must have an odd number of taps");
    }

    /// The features that the history of `keys` keys gives, to `to`, features × keys, whatever stands there.
    template <class To>
    void locate(const T* h, Index keys, To&& to) const {
        if (filters.size() == 0) {
            to.row(0) = Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>(h, keys);
            return;
        }
        to.setZero();
        for_each_tap(h, keys, [&](Index c, Index tap, Index begin, const auto& seen) {
            to.row(c).segment(begin, seen.size()) += filters(c, tap) * seen;
        });
    }
    /// Given the gradient of the features, adds that of the history and of the filters.
    template <class DTo>
    void locate_backward(const T* h, Index keys, const DTo& dto, T* dh, LocationScore& gradient) const {
        if (filters.size() == 0) {
            Eigen::Map<Eigen::Matrix<T, 1, Eigen::Dynamic>>(dh, keys) += dto.row(0);
            return;
        }
        for_each_tap(h, keys, [&](Index c, Index tap, Index begin, const auto& seen) {
            const auto d = dto.row(c).segment(begin, seen.size());
            gradient.filters(c, tap) += d.dot(seen);
            Eigen::Map<Eigen::Matrix<T, 1, Eigen::Dynamic>>(dh + (seen.data() - h), seen.size()) += filters(c, tap) * d;
        });
    }

private:
    /// Calls `f(filter, tap, begin, what of the history the tap sees of the keys from begin on)`.
    template <class F>
    void for_each_tap(const T* h, Index keys, F&& f) const {
        const Index radius = filters.cols() / 2;
        for (Index c = 0; c < filters.rows(); ++c) {
            for (Index tap = 0; tap < filters.cols(); ++tap) {
                const Index shift = tap - radius, begin = std::max<Index>(0, -shift),
                            end = std::min(keys, keys - shift);
                if (begin >= end) continue;
                f(c, tap, begin, Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>(h + begin + shift, end - begin));
            }
        }
    }
};

}  // namespace attend

#pragma once
/// \file
/// T5's relative position bias.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI {

/// How T5 puts relative positions into buckets.
struct RelativeBuckets {
    Index buckets = 32;         ///< rows of the table
    Index max_distance = 128;   ///< from here on all are in the last bucket
    bool bidirectional = true;  ///< whether keys behind the query have buckets of their own
};

/// The bucket of `relative` = key − query (Raffel et al. 2020): half of the buckets hold one distance each, the others
/// grow logarithmically up to `max_distance`; a bidirectional table keeps its upper half for keys behind the query.
/// Throws where there are too few buckets for that.
inline Index t5_bucket(Index relative, const RelativeBuckets& options = {}) {
    Index buckets = options.buckets, bucket = 0;
    detail::require(buckets >= (options.bidirectional ? 4 : 2) && options.max_distance > buckets / 2,
                    "t5_bucket: needs at least ", options.bidirectional ? 4 : 2,
                    " buckets and a max_distance above half of them, got ", buckets, " buckets and max_distance ",
                    options.max_distance);
    // The least number has no opposite; the bucket of so great a distance is the last in any case.
    relative = std::max(relative, -std::numeric_limits<Index>::max());
    Index n = std::max<Index>(-relative, 0);
    if (options.bidirectional) {
        buckets /= 2;
        bucket = relative > 0 ? buckets : 0;
        n = std::abs(relative);
    }
    const Index exact = buckets / 2;
    if (n < exact) return bucket + n;
    // Divided as in T5, so that distances on a bucket's border fall where T5 puts them.
    const double octaves = std::log(static_cast<double>(n) / static_cast<double>(exact)) /
                           std::log(static_cast<double>(options.max_distance) / static_cast<double>(exact));
    const Index grown = exact + static_cast<Index>(octaves * static_cast<double>(buckets - exact));
    return bucket + std::min(grown, buckets - 1);
}

/// s ↦ s + table(bucket(key − query), head), for a learned table of buckets × heads (or × 1 for all heads).
template <class T>
struct RelativeBias {
    static constexpr Kind kind = Kind::modifier;
    using Scalar = T;

    RowMatrix<T> table;  ///< trains

    /// What `relative_bias(table, options)` makes of a copy; throws where it would.
    RelativeBias(RowMatrix<T> table_, const RelativeBuckets& options)
        : table(std::move(table_)), reach_(options.max_distance) {
        detail::require(
            options.buckets >= (options.bidirectional ? 4 : 2) && options.max_distance > options.buckets / 2,
            "relative_bias: needs at least ", options.bidirectional ? 4 : 2,
            " buckets and a max_distance above half of them, got ", options.buckets, " buckets and max_distance ",
            options.max_distance);
        detail::require(reach_ <= most_distance, "relative_bias: max_distance must be at most ", most_distance,
                        ", got ", reach_);
        buckets_ = options.buckets;
        check_rows();
        for (Index relative = -reach_; relative <= reach_; ++relative) bucket_.push_back(t5_bucket(relative, options));
    }

    /// The same bias of C.
    template <class C>
    RelativeBias<C> cast() const {
        return {table.template cast<C>(), reach_, buckets_, bucket_};
    }

    static void parameters(auto& self, auto&& visit) { visit("table", self.table); }
    auto spelled(const auto& say) const {
        const RelativeBuckets usual;
        const bool more = buckets_ != usual.buckets, farther = reach_ != usual.max_distance, one_way = bucket(1) == 0;
        return say("relative_bias", table,
                   say.when(more || farther || one_way, say.record("", say.field(more, "buckets", buckets_),
                                                                   say.field(farther, "max_distance", reach_),
                                                                   say.field(one_way, "bidirectional", !one_way))));
    }
    void check(const Shape& shape) const {
        check_rows();
        detail::require(table.cols() == 1 || table.cols() == shape.heads,
                        "relative_bias: ", detail::named("table", table.rows(), table.cols()),
                        " must have one column, or one for each of the ", shape.heads, " heads");
    }

    auto operator()(auto s, const Position& p) const {
        return s + decltype(s)(table(bucket(p.key - p.query), column(p)));
    }
    template <detail::PackPosition P>
    auto operator()(auto s, const P& p) const {
        using C = detail::PositionScalar<P>;
        C biases[detail::simd::width<C>] = {};
        const auto relative = p.key - p.query;
        for (Index i = 0; i < detail::pairs_of(p); ++i)
            biases[i] = static_cast<C>(table(bucket(relative[i]), column(p)));
        return s + decltype(s)(Lanes<C>::of(detail::simd::load(biases)));
    }
    template <class C>
    void backward(C, const Position& p, C ds_out, RelativeBias& gradient) const {
        gradient.table(bucket(p.key - p.query), column(p)) += static_cast<T>(ds_out);
    }

private:
    template <class>
    friend struct RelativeBias;
    RelativeBias(RowMatrix<T> table_, Index reach, Index buckets, std::vector<Index> bucket)
        : table(std::move(table_)), reach_(reach), buckets_(buckets), bucket_(std::move(bucket)) {}

    static constexpr Index most_distance = Index(1) << 24;  // its buckets take 256 MB

    void check_rows() const {
        if (table.rows() != buckets_)
            detail::refuse(detail::named("table", table.rows(), table.cols()), " must have a row for each of the ",
                           buckets_, " buckets");
    }

    Index bucket(Index relative) const {
        return bucket_[static_cast<std::size_t>(std::clamp<Index>(relative, -reach_, reach_) + reach_)];
    }
    template <class P>
    Index column(const P& p) const {
        return table.cols() == 1 ? 0 : p.head;
    }

    Index reach_;  ///< from here on the bucket does not change
    Index buckets_ = 0;
    std::vector<Index> bucket_;  ///< of the distances −reach … reach: no logarithm a pair
};

/// `relative_bias(table)`: holds a copy, which trains, buckets × heads or × 1. Throws unless it has a row for each
/// bucket.
template <detail::Dense X>
RelativeBias<typename X::Scalar> relative_bias(const X& table, const RelativeBuckets& options = {}) {
    return {table, options};
}

}  // namespace attend

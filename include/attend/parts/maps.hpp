#pragma once
/// \file
/// The four maps of a score between operands and features, each with its default: the identity.

#include <attend/core/concepts.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Whether queries are their own features, but for a factor.
template <class S, class T>
concept ScalesQueries = !HasMapQueries<S> || requires(const S& score) { score.template query_factor<T>(Index()); };

/// That factor.
template <class T, ScalesQueries<T> S>
T query_factor(const S& score, Index width) {
    if constexpr (HasMapQueries<S>) {
        return score.template query_factor<T>(width);
    } else {
        return T(1);
    }
}

template <class S, class Rows, class Mapped>
void map_queries(const S& score, const Rows& q, Mapped& mapped) {
    if constexpr (requires { score.map_queries(q, mapped); }) {
        score.map_queries(q, mapped);
    } else {
        static_assert(!HasMapQueries<S>,
                      "attend: this score has map_queries that does not fit: it needs void map_queries(const auto& q, "
                      "auto& mapped) const");
        mapped = q.template cast<typename Mapped::Scalar>();
    }
}
template <class S, class Rows, class Mapped, class Gradient>
void map_queries_backward(const S& score, const Rows& q, const Mapped& dmapped, Gradient& dq, S* gradient) {
    if constexpr (requires { score.map_queries_backward(q, dmapped, dq, gradient); }) {
        score.map_queries_backward(q, dmapped, dq, gradient);
    } else {
        static_assert(
            !requires(Mapped& mapped) { score.map_queries(q, mapped); },
            "attend: this score has map_queries, but no map_queries_backward that fits: it needs void "
            "map_queries_backward(const auto& q, const auto& dmapped, auto& dq, Self* gradient) const");
        dq += dmapped.template cast<typename Gradient::Scalar>();
    }
}
template <class S, class Rows, class Mapped, class Gradient>
void map_keys_backward(const S& score, const Rows& k, const Mapped& dmapped, Gradient& dk, S* gradient) {
    if constexpr (TakesFeatures<S>) {
        dk += dmapped.template cast<typename Gradient::Scalar>();
    } else if constexpr (requires { score.map_keys_backward(k, dmapped, dk, gradient); }) {
        score.map_keys_backward(k, dmapped, dk, gradient);
    } else {
        static_assert(
            !requires(Mapped& mapped) { score.map_keys(k, mapped); },
            "attend: this score has map_keys, but no map_keys_backward that fits: it needs void "
            "map_keys_backward(const auto& k, const auto& dmapped, auto& dk, Self* gradient) const");
        dk += dmapped.template cast<typename Gradient::Scalar>();
    }
}

}  // namespace attend::detail

#pragma once
/// \file
/// Parameters that are one number for all heads, or a vector with one number a head.

#include <string_view>

#include <attend/core/errors.hpp>
#include <attend/core/given_parameters.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// What is stored for a parameter given as a number or as a vector expression.
template <class Given>
struct PerHead {
    using type = Eigen::VectorXd;
};
template <class Given>
    requires std::is_arithmetic_v<Given>
struct PerHead<Given> {
    using type = double;
};
template <class Given>
using PerHeadOf = typename PerHead<Given>::type;

template <class Given>
constexpr PerHeadOf<Given> store_per_head(const Given& given) {
    if constexpr (std::is_arithmetic_v<Given>) {
        return static_cast<double>(given);
    } else {
        return given.template cast<double>().reshaped();
    }
}

constexpr const double& at_head(const double& value, Index) { return value; }
constexpr double& at_head(double& value, Index) { return value; }
inline const double& at_head(const Eigen::VectorXd& values, Index head) { return values[head]; }
inline double& at_head(Eigen::VectorXd& values, Index head) { return values[head]; }
inline const double& at_head(const GivenNumbers& values, Index head) { return values.at(head); }
inline double& at_head(GivenNumbers& values, Index head) { return values.sum_at(head); }

inline void check_per_head(const double&, std::string_view, const Shape&) {}
inline void check_per_head(const Eigen::VectorXd& values, std::string_view name, const Shape& shape) {
    require(values.size() == shape.heads, name, " (", values.size(), " values) must have one value a head, there are ",
            shape.heads, " heads");
}
inline void check_per_head(const GivenNumbers& values, std::string_view name, const Shape& shape) {
    require(values.count == 1 || values.count == shape.heads, name, " (", values.count,
            " values) must have one value a head, there are ", shape.heads, " heads");
}

}  // namespace attend::detail

#pragma once
/// \file
/// The gradient of a linear map's weight.

#include <attend/core/types.hpp>

namespace attend::detail {

/// dweight += Σ_rows xᵀ dy, where a row whose dy is 0 adds nothing whatever its x holds: a masked row may hold NaN.
template <class Weight, class Rows, class Gradients>
void add_outer_products(Weight& dweight, const Rows& x, const Gradients& dy) {
    using Scalar = typename Weight::Scalar;
    if (x.allFinite()) {
        dweight.noalias() += x.transpose().template cast<Scalar>() * dy.template cast<Scalar>();
        return;
    }
    for (Index row = 0; row < x.rows(); ++row) {
        if ((dy.row(row).array() == 0).all()) continue;
        dweight.noalias() += x.row(row).transpose().template cast<Scalar>() * dy.row(row).template cast<Scalar>();
    }
}

}  // namespace attend::detail

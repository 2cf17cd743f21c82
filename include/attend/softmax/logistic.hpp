#pragma once
/// \file
/// The logistic function.

#include <attend/core/lanes.hpp>
#include <attend/core/math.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// σ(x) = 1 / (1 + e^−x), of scalars and packs of lanes.
template <class S>
S logistic(S x) {
    using attend::exp, attend::min, attend::select;
    const S e = exp(min(x, -x));  // e ≤ 1: neither branch overflows
    return select(x < S(0), e, S(1)) / (S(1) + e);
}

}  // namespace attend::detail

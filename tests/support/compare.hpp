#pragma once
/// \file
/// How far apart two matrices are, and whether they are the same to the last bit.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include <attend/core/types.hpp>

namespace attend::test {

/// The same shape and the same bits: tells 0 from −0, and NaN equals itself.
template <class A, class B>
bool same_bits(const Eigen::DenseBase<A>& a, const Eigen::DenseBase<B>& b) {
    using T = typename A::Scalar;
    static_assert(std::is_same_v<T, typename B::Scalar>);
    static_assert(!std::is_same_v<T, long double>, "the padding of a long double holds anything");
    if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
    const RowMatrix<T> x = a.derived().matrix(), y = b.derived().matrix();
    return x.size() == 0 || std::memcmp(x.data(), y.data(), sizeof(T) * static_cast<std::size_t>(x.size())) == 0;
}

/// The largest |a − b|; +∞ where the shapes differ, or two entries that are not equal do not have a finite difference.
template <class A, class B>
double distance(const Eigen::DenseBase<A>& a, const Eigen::DenseBase<B>& b) {
    constexpr double no_end = std::numeric_limits<double>::infinity();
    if (a.rows() != b.rows() || a.cols() != b.cols()) return no_end;
    const RowMatrix<typename A::Scalar> x = a.derived().matrix();
    const RowMatrix<typename B::Scalar> y = b.derived().matrix();
    double most = 0;
    for (Index i = 0; i < x.size(); ++i) {
        const auto p = static_cast<double>(x.data()[i]), q = static_cast<double>(y.data()[i]);
        const double apart = p == q ? 0.0 : std::abs(p - q);
        most = apart <= most ? most : apart < no_end ? apart : no_end;
    }
    return most;
}

/// The largest magnitude, at least 1: what distances are measured against.
template <class A>
double magnitude(const Eigen::DenseBase<A>& a) {
    return a.size() == 0 ? 1.0 : std::max(1.0, static_cast<double>(a.derived().array().abs().maxCoeff()));
}

}  // namespace attend::test

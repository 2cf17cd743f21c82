#pragma once
/// \file
/// A matrix in foreign memory.

#include <limits>

#include <attend/core/view.hpp>

namespace attend::test {

/// A matrix whose entries stand three apart, with an unused row below each row. What lies between holds NaN.
class Gapped {
public:
    explicit Gapped(const RowMatrix<double>& x)
        : rows_(x.rows()), columns_(x.cols()), memory_(RowMatrix<double>::Constant(2 * x.rows(), 3 * x.cols(), nan)) {
        Eigen::Map<RowMatrix<double>, 0, Strides>(memory_.data(), rows_, columns_, {6 * columns_, 3}) = x;
    }

    StridedView<double> view() { return strided(memory_.data(), {1, 1, rows_, columns_}, {0, 0, 6 * columns_, 3}); }

    RowMatrix<double> matrix() const {
        return Eigen::Map<const RowMatrix<double>, 0, Strides>(memory_.data(), rows_, columns_, {6 * columns_, 3});
    }
    bool gaps_are_untouched() const { return (memory_.array() == memory_.array()).count() == rows_ * columns_; }

private:
    using Strides = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
    static constexpr double nan = std::numeric_limits<double>::quiet_NaN();

    Index rows_, columns_;
    RowMatrix<double> memory_;
};

}  // namespace attend::test

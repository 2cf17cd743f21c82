#pragma once
/// \file
/// A linear map of rows, and the gradient of its weight.

#include <algorithm>
#include <type_traits>

#include <attend/core/all_finite.hpp>
#include <attend/core/repeat.hpp>
#include <attend/core/simd.hpp>
#include <attend/engine/matrix_product.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// out += x · weight for a panel of packed columns: `rows` rows of x from `row` on.
template <int rows, int packets, class C, class X, class Out>
ATTEND_NOINLINE void add_panel_of(const X& x, Index row, Index begin, Index depth, const C* panel, Index stride,
                                  Index columns, Index column, Out& out) {
    constexpr Index w = simd::width<C>;
    simd::Packet<C> sums[rows * packets];
    repeat<rows * packets>([&](auto i) ATTEND_ALWAYS_INLINE { sums[i] = simd::broadcast(C(0)); });
    for (Index a = 0; a < depth; ++a, panel += stride) {
        simd::Packet<C> weights[packets];
        repeat<packets>([&](auto p) ATTEND_ALWAYS_INLINE { weights[p] = simd::load(panel + p * w); });
        repeat<rows>([&](auto i) ATTEND_ALWAYS_INLINE {
            const auto x_ia = simd::broadcast(static_cast<C>(x.coeff(row + i, begin + a)));
            repeat<packets>([&](auto p) ATTEND_ALWAYS_INLINE {
                sums[i * packets + p] = simd::madd(x_ia, weights[p], sums[i * packets + p]);
            });
        });
    }
    repeat<rows>([&](auto i) ATTEND_ALWAYS_INLINE {
        Eigen::Array<C, 1, packets* static_cast<int>(w)> products;
        repeat<packets>([&](auto p)
                            ATTEND_ALWAYS_INLINE { simd::store(products.data() + p * w, sums[i * packets + p]); });
        for (Index h = 0; h < columns; ++h)
            out.coeffRef(row + i, column + h) += static_cast<typename Out::Scalar>(products[h]);
    });
}

template <class C, class X, class Weight, class Out>
void add_row_products(const X& x, const Weight& weight, Out& out);

/// The same where the sums take several steps, which an output of 16 bits must not round one by one.
template <class C, class X, class Weight, class Out>
ATTEND_NOINLINE void add_row_products_rounded_once(const X& x, const Weight& weight, Out& out) {
    constexpr int tall = 48, wide = 64;
    Eigen::Array<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, tall, wide> sum;
    for (Index i = 0; i < out.rows(); i += tall) {
        for (Index j = 0; j < out.cols(); j += wide) {
            auto part = out.block(i, j, std::min<Index>(tall, out.rows() - i), std::min<Index>(wide, out.cols() - j));
            sum = part.array().template cast<C>();
            add_row_products<C>(x.middleRows(i, part.rows()), weight.middleCols(j, part.cols()), sum);
            part = sum.matrix().template cast<typename Out::Scalar>();
        }
    }
}

/// out += x · weight, computed in C, row by row and in the order of the features: Eigen picks the routine of a whole
/// product by its size, and with it the bits of a row. Takes 32 KB of stack.
template <class C, class X, class Weight, class Out>
void add_row_products(const X& x, const Weight& weight, Out& out) {
    constexpr Index w = simd::width<C>, panel = 256 / sizeof(C), chunk = 128;
    constexpr int packets = 2 * w <= panel ? 2 : 1;
    if constexpr (!std::is_same_v<C, typename Out::Scalar>) {
        if (x.cols() > chunk) return add_row_products_rounded_once<C>(x, weight, out);
    }
    alignas(64) C packed[chunk * panel];
    for (Index column = 0; column < weight.cols(); column += panel) {
        const Index columns = std::min(panel, weight.cols() - column), stride = (columns + 2 * w - 1) / (2 * w) * 2 * w;
        for (Index begin = 0; begin < x.cols(); begin += chunk) {
            const Index depth = std::min(chunk, x.cols() - begin);
            Eigen::Map<Eigen::Matrix<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> rows(packed, depth, stride);
            rows.leftCols(columns) = weight.block(begin, column, depth, columns).template cast<C>();
            rows.rightCols(stride - columns).setZero();
            for (Index h = 0; h < columns; h += packets * w) {
                const auto add = [&](Index i, auto count) {
                    add_panel_of<count, packets>(x, i, begin, depth, packed + h, stride,
                                                 std::min<Index>(packets * w, columns - h), column + h, out);
                };
                Index i = 0;
                for (; i + 6 <= x.rows(); i += 6) add(i, std::integral_constant<int, 6>());
                for (; i < x.rows(); ++i) add(i, std::integral_constant<int, 1>());
            }
        }
    }
}

/// Whether all numbers of a matrix whose lines are contiguous are finite.
template <class X>
bool are_finite(const X& x) {
    using T = Compute<typename X::Scalar>;
    if constexpr (std::is_same_v<T, typename X::Scalar>) {
        return all_finite<T>({x.data(), x.outerStride(), 1}, x.outerSize(), x.innerSize());
    } else {
        return all_finite_narrow<T>(x.outerSize(), x.innerSize(),
                                    [&](Index i) { return x.data() + i * x.outerStride(); });
    }
}

/// dweight += Σ_rows xᵀ dy, where a row whose dy is 0 adds nothing whatever its x holds: a masked row may hold NaN. The
/// scalars may differ; sums of 16 bits run in float and are rounded once. 17 KB of stack where they differ.
template <class Weight, class Rows, class Gradients>
void add_outer_products(Weight& dweight, const Rows& x, const Gradients& dy, const ExecutorRef& executor = serial) {
    using Scalar = typename Weight::Scalar;
    using X = typename Rows::Scalar;
    // A product reads contiguous matrices of one scalar where they are; others it would copy.
    constexpr bool multiplies = std::is_same_v<typename Gradients::Scalar, X> &&
                                (std::is_same_v<Scalar, X> || std::is_same_v<Scalar, Compute<X>>);
    if constexpr (multiplies && Rows::InnerStrideAtCompileTime == 1 && Gradients::InnerStrideAtCompileTime == 1) {
        if (are_finite(x)) return add_product(dweight, x.transpose(), dy, executor);
    }
    using C = std::common_type_t<Compute<Scalar>, Compute<X>, Compute<typename Gradients::Scalar>>;
    constexpr int tall = 32, wide = 128;
    Eigen::Array<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, tall, wide> sum;
    Eigen::Array<C, 1, Eigen::Dynamic, Eigen::RowMajor, 1, wide> dy_i;
    for (Index a = 0; a < dweight.rows(); a += tall) {
        const Index rows = std::min<Index>(tall, dweight.rows() - a);
        for (Index j = 0; j < dweight.cols(); j += wide) {
            const Index columns = std::min<Index>(wide, dweight.cols() - j);
            auto part = dweight.block(a, j, rows, columns);
            sum = part.array().template cast<C>();
            for (Index i = 0; i < x.rows(); ++i) {
                if ((dy.row(i).array() == typename Gradients::Scalar(0)).all()) continue;
                dy_i = dy.row(i).segment(j, columns).array().template cast<C>();
                for (Index r = 0; r < rows; ++r) sum.row(r) += dy_i * static_cast<C>(x(i, a + r));
            }
            part = sum.matrix().template cast<Scalar>();
        }
    }
}

}  // namespace attend::detail

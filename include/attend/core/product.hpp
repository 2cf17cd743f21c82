#pragma once
/// \file
/// Matrix products that take nothing from the heap.

#include <algorithm>
#include <type_traits>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// At most `rows` × `columns` of X, a matrix in memory: Eigen knows at compile time how much it may have to pack.
template <class X, int rows, int columns>
auto bounded_block(X& x, Index row, Index column, Index row_count, Index column_count) {
    using Plain = Eigen::Matrix<typename X::Scalar, Eigen::Dynamic, Eigen::Dynamic,
                                X::IsRowMajor ? Eigen::RowMajor : Eigen::ColMajor, rows, columns>;
    using Stride = Eigen::Stride<Eigen::Dynamic, X::InnerStrideAtCompileTime>;
    auto* const start = x.data() + (X::IsRowMajor ? row * x.outerStride() + column * x.innerStride()
                                                  : column * x.outerStride() + row * x.innerStride());
    using Data = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(start)>>, const Plain, Plain>;
    return Eigen::Map<Data, Eigen::Unaligned, Stride>(start, row_count, column_count,
                                                      Stride(x.outerStride(), x.innerStride()));
}

/// The factors of a product, borrowed for the expression that they stand in.
template <class A, class B>
struct Factors {
    const A& a;
    const B& b;
};
template <class A, class B>
Factors<A, B> times(const A& a, const B& b) {
    return {a, b};
}

/// y += Σ a · b of 16-bit scalars, computed in float and rounded once, at the end: a sum that is kept in 16 bits stands
/// still as soon as its terms are less than half of its last digit. 192 KB of stack.
template <class Y, class... A, class... B>
void add_products_rounded_once(Y& y, const Factors<A, B>&... products) {
    using T = typename Y::Scalar;
    static_assert((std::is_same_v<T, typename A::Scalar> && ...) && (std::is_same_v<T, typename B::Scalar> && ...));
    using C = Compute<T>;
    constexpr int side = 128, depth = 64;
    Eigen::Matrix<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, side, side> sum;
    Eigen::Matrix<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, side, depth> left;
    Eigen::Matrix<C, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, depth, side> right;
    for (Index j = 0; j < y.cols(); j += side) {
        const Index wide = std::min<Index>(side, y.cols() - j);
        for (Index i = 0; i < y.rows(); i += side) {
            const Index high = std::min<Index>(side, y.rows() - i);
            sum = y.block(i, j, high, wide).template cast<C>();
            const auto add = [&](const auto& a, const auto& b) {
                for (Index l = 0; l < a.cols(); l += depth) {
                    const Index deep = std::min<Index>(depth, a.cols() - l);
                    left = a.block(i, l, high, deep).template cast<C>();
                    right = b.block(l, j, deep, wide).template cast<C>();
                    sum.noalias() += left * right;
                }
            };
            (add(products.a, products.b), ...);
            y.block(i, j, high, wide) = sum.template cast<T>();
        }
    }
}

/// y += a · b for matrices in memory of one scalar type, which must not overlap y. 2 · rows · depth · columns
/// operations, 256 KB of stack. 16-bit scalars are computed in float and rounded once.
///
/// Eigen packs both operands of a product, large ones on the heap. Given blocks whose greatest size is known to the
/// compiler it packs them on the stack. For 16 to 512 rows and widths of 64 to 512 these blocks were measured at 90 to
/// 120 % of the speed of a whole product, from SSE2 to AVX-512; 128 × 128 and a depth of 256 at 87 %, 32 rows at a time
/// at 75 %.
template <class Y, class A, class B>
void add_product(Y& y, const A& a, const B& b) {
    using T = typename Y::Scalar;
    static_assert(std::is_same_v<T, typename A::Scalar> && std::is_same_v<T, typename B::Scalar>);
    if constexpr (!std::is_same_v<T, Compute<T>>) {
        add_products_rounded_once(y, times(a, b));
    } else {
        constexpr int side = 256, depth = 128 * 1024 / (side * static_cast<int>(sizeof(T)));
        if (y.rows() == 1) {  // not a matter of packing: blocks would cost a fifth
            y.row(0).noalias() += a.row(0) * b;
            return;
        }
        for (Index j = 0; j < y.cols(); j += side) {
            const Index wide = std::min<Index>(side, y.cols() - j);
            for (Index i = 0; i < y.rows(); i += side) {
                const Index high = std::min<Index>(side, y.rows() - i);
                auto sum = bounded_block<Y, side, side>(y, i, j, high, wide);
                for (Index l = 0; l < a.cols(); l += depth) {
                    const Index deep = std::min<Index>(depth, a.cols() - l);
                    sum.noalias() += bounded_block<const A, side, depth>(a, i, l, high, deep) *
                                     bounded_block<const B, depth, side>(b, l, j, deep, wide);
                }
            }
        }
    }
}

/// y += Σ a · b, one product after the other: `add_products(y, times(a, b), times(c, d))`.
template <class Y, class... A, class... B>
void add_products(Y& y, const Factors<A, B>&... products) {
    if constexpr (std::is_same_v<typename Y::Scalar, Compute<typename Y::Scalar>>) {
        (add_product(y, products.a, products.b), ...);
    } else {
        add_products_rounded_once(y, products...);
    }
}

}  // namespace attend::detail

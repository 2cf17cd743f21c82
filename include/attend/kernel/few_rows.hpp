#pragma once
/// \file
/// The two products for a few queries: lanes are features there, so that none is idle.

#include <algorithm>
#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/core/simd.hpp>
#include <attend/kernel/micro_kernel.hpp>

namespace attend::detail {

/// So many queries of a head are few. However many heads share their keys: the bits of a head do not depend on those
/// beside it.
template <class T>
inline constexpr Index most_few_queries = simd::width<T> == 1 ? 0 : std::max<Index>(1, simd::width<T> / 8);

/// Contiguous rows of keys or values.
template <class T>
struct RowBlock {
    const T* data;
    Index stride, rows, columns;
    const T* row(Index i) const { return data + i * stride; }
};

/// The products of `queries` rows of q with width / queries keys at a time. Key after key, feature after feature: the
/// order in which a processor sees what comes next and fetches it.
template <int queries, class T>
ATTEND_NOINLINE void dot_rows_of(const RowBlock<T>& k, const T* q, T* s, Index lanes) {
    constexpr int w = static_cast<int>(simd::width<T>), keys = w / queries;
    using P = simd::Packet<T>;
    const Index whole = k.columns / w * w, rest = k.columns - whole;
    P q_rest[queries];
    repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE {
        q_rest[i] = rest > 0 ? simd::load(q + i * k.columns + whole, rest, T(0)) : simd::broadcast(T(0));
    });
    for (Index j = 0; j < k.rows; j += keys) {
        P sums[w];
        repeat<keys>([&](auto r) ATTEND_ALWAYS_INLINE {
            P sum[queries];
            repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { sum[i] = simd::broadcast(T(0)); });
            if (j + r < k.rows) {
                const T* const key = k.row(j + r);
                for (Index a = 0; a < whole; a += w) {
                    const P k_a = simd::load(key + a);
                    repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE {
                        sum[i] = simd::madd(k_a, simd::load(q + i * k.columns + a), sum[i]);
                    });
                }
                if (rest > 0) {
                    const P k_a = simd::load(key + whole, rest, T(0));
                    repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { sum[i] = simd::madd(k_a, q_rest[i], sum[i]); });
                }
            }
            repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { sums[r * queries + i] = sum[i]; });
        });
        T products[w];
        simd::store(products, simd::sums_of_rows<T>(sums));
        for (Index r = 0; r < std::min<Index>(keys, k.rows - j); ++r)
            std::copy_n(products + r * queries, queries, s + (j + r) * lanes);
    }
}

/// s[j · lanes + i] = k_j · q_i for `count` rows of q that follow each other.
template <class T>
void dot_rows(const RowBlock<T>& k, const T* q, Index count, T* s, Index lanes) {
    const auto some = [&](auto queries) {
        if constexpr (2 * queries <= simd::width<T>) {
            for (; count >= queries; count -= queries, q += queries * k.columns, s += queries)
                dot_rows_of<queries>(k, q, s, lanes);
        }
    };
    some(std::integral_constant<int, 4>()), some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
}

/// o_i += Σ_r weights[r · lanes + i] · v_r for `queries` rows of o and `keys` rows of v.
template <int queries, int keys, class T>
ATTEND_NOINLINE void add_rows_of(const T* v, Index stride, Index columns, const T* weights, Index lanes, T* o) {
    constexpr Index w = simd::width<T>;
    using P = simd::Packet<T>;
    P p[keys * queries];
    repeat<keys * queries>(
        [&](auto x) ATTEND_ALWAYS_INLINE { p[x] = simd::broadcast(weights[x / queries * lanes + x % queries]); });
    const auto add = [&](auto&& load, auto&& store) ATTEND_ALWAYS_INLINE {
        P sum[queries];
        repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { sum[i] = load(o + i * columns); });
        repeat<keys>([&](auto r) ATTEND_ALWAYS_INLINE {
            const P v_r = load(v + r * stride);
            repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { sum[i] = simd::madd(p[r * queries + i], v_r, sum[i]); });
        });
        repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { store(o + i * columns, sum[i]); });
    };
    Index a = 0;
    for (; a + w <= columns; a += w) {
        add([a](const T* from) ATTEND_ALWAYS_INLINE { return simd::load(from + a); },
            [a](T* to, const P& x) ATTEND_ALWAYS_INLINE { simd::store(to + a, x); });
    }
    if (const Index rest = columns - a; rest > 0) {
        add([a, rest](const T* from) { return simd::load(from + a, rest, T(0)); },
            [a, rest](T* to, const P& x) { simd::store<T>(to + a, x, rest); });
    }
}

/// o_i = factor_i · o_i + Σ_j weights[j · lanes + i] · v_j for `count` rows of o that follow each other; without
/// `factor` they start at 0.
template <class T>
void add_rows(const RowBlock<T>& v, const T* weights, Index count, Index lanes, const T* factor, T* o) {
    for (Index i = 0; i < count; ++i) {
        for (Index a = 0; a < v.columns; ++a) {
            T& sum = o[i * v.columns + a];
            sum = factor == nullptr ? T(0) : factor[i] * sum;
        }
    }
    const auto some = [&](auto queries) {
        if constexpr (2 * queries <= simd::width<T>) {
            constexpr int keys = Registers<T>::vectors * 4 / queries;  // so many weights fit into the registers
            for (; count >= queries; count -= queries, weights += queries, o += queries * v.columns) {
                Index j = 0;
                for (; j + keys <= v.rows; j += keys)
                    add_rows_of<queries, keys>(v.row(j), v.stride, v.columns, weights + j * lanes, lanes, o);
                for (; j < v.rows; ++j)
                    add_rows_of<queries, 1>(v.row(j), v.stride, v.columns, weights + j * lanes, lanes, o);
            }
        }
    };
    some(std::integral_constant<int, 4>()), some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
}

}  // namespace attend::detail

#pragma once
/// \file
/// The two products for a few queries: lanes are features there, so that none is idle.

#include <algorithm>
#include <type_traits>

#include <attend/core/read_ahead.hpp>
#include <attend/core/repeat.hpp>
#include <attend/core/simd.hpp>
#include <attend/engine/packets.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// So many queries of a head are few. However many heads share their keys: the bits of a head do not depend on those
/// beside it.
template <class T>
inline constexpr Index most_few_queries = simd::width<T> == 1 ? 0 : std::max<Index>(1, simd::width<T> / 8);

/// The products of `queries` rows of q with width / queries keys at a time.
template <int queries, class T>
ATTEND_NOINLINE void dot_rows_of(const RowBlock<T>& k, const T* q, T* s, const ScoreStrides& apart) {
    constexpr int w = static_cast<int>(simd::width<T>), keys = w / queries, at_once = std::min(4, keys);
    using P = simd::Packet<T>;
    const Index whole = k.columns / w * w, rest = k.columns - whole;
    RowsAhead<T> ahead(k);
    for (Index j = 0; j < k.rows; j += keys) {
        P sums[w];
        for (int r = 0; r < keys; r += at_once) {
            P sum[at_once][queries];
            repeat<at_once * queries>(
                [&](auto x) ATTEND_ALWAYS_INLINE { sum[x / queries][x % queries] = simd::broadcast(T(0)); });
            const T* key[at_once];
            repeat<at_once>([&](auto x) ATTEND_ALWAYS_INLINE { key[x] = k.row(std::min(j + r + x, k.rows - 1)); });
            P q_a[queries];
            for (Index a = 0; a < whole; a += w) {
                repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { q_a[i] = simd::load(q + i * k.columns + a); });
                repeat<at_once>([&](auto x) ATTEND_ALWAYS_INLINE { add_each(sum[x], q_a, simd::load(key[x] + a)); });
            }
            if (rest > 0) {
                repeat<queries>(
                    [&](auto i) ATTEND_ALWAYS_INLINE { q_a[i] = simd::load(q + i * k.columns + whole, rest, T(0)); });
                repeat<at_once>([&](auto x) ATTEND_ALWAYS_INLINE {
                    add_each(sum[x], q_a, simd::load(key[x] + whole, rest, T(0)));
                });
            }
            ahead.next(at_once);
            repeat<at_once * queries>([&](auto x) ATTEND_ALWAYS_INLINE {
                sums[x % queries * keys + r + x / queries] = sum[x / queries][x % queries];
            });
        }
        if (queries == 1 && apart.key == 1) {
            simd::store(s + j, simd::sums_of_rows<T>(sums));
            continue;
        }
        T products[w];
        simd::store(products, simd::sums_of_rows<T>(sums));
        const Index here = std::min<Index>(keys, k.rows - j);
        for (int i = 0; i < queries; ++i) {
            T* const to = s + i * apart.query + j * apart.key;
            if (apart.key == 1) {
                std::copy_n(products + i * keys, keys, to);
            } else {
                for (Index r = 0; r < here; ++r) to[r * apart.key] = products[i * keys + r];
            }
        }
    }
}

/// The score of query i and key j is k_j · q_i, for `count` rows of q that follow each other. Where the scores of a
/// query follow each other, anything may be written behind them up to the next multiple of the packet's width.
template <class T>
void dot_rows(const RowBlock<T>& k, const T* q, Index count, T* s, const ScoreStrides& apart) {
    const auto some = [&](auto queries) {
        if constexpr (2 * queries <= simd::width<T>) {
            for (; count >= queries; count -= queries, q += queries * k.columns, s += queries * apart.query)
                dot_rows_of<queries>(k, q, s, apart);
        }
    };
    some(std::integral_constant<int, 4>()), some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
}

/// o_i += Σ_r weight(i, r) · v_r for `queries` rows of o and as many rows of v as weights fit into the registers, again
/// and again, as far as the features fill whole packets. Four sums at a time: one would wait for itself, and round
/// more. Returns how many rows of v that were.
template <int queries, class T>
ATTEND_NOINLINE Index add_rows_of(const RowBlock<T>& v, const T* weights, const ScoreStrides& apart, T* o) {
    constexpr Index w = simd::width<T>;
    constexpr int keys = Registers<T>::vectors * 4 / queries, parts = 4 / queries;
    using P = simd::Packet<T>;
    const Index columns = v.columns;
    RowsAhead<T> ahead(v);
    Index j = 0;
    for (; j + keys <= v.rows; j += keys, weights += keys * apart.key) {
        P p[keys * queries];
        repeat<keys * queries>([&](auto x) ATTEND_ALWAYS_INLINE {
            p[x] = simd::broadcast(weights[x / queries * apart.key + x % queries * apart.query]);
        });
        const T* const rows = v.row(j);
        ahead.next(keys);
        for (Index a = 0; a + w <= columns; a += w) {
            P sum[parts][queries];
            repeat<parts * queries>([&](auto x) ATTEND_ALWAYS_INLINE {
                sum[x / queries][x % queries] =
                    x < queries ? simd::load(o + x % queries * columns + a) : simd::broadcast(T(0));
            });
            repeat<keys>([&](auto r) ATTEND_ALWAYS_INLINE {
                add_each(sum[r % parts], p + r * queries, simd::load(rows + r * v.stride + a));
            });
            repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE {
                P all = sum[0][i];
                if constexpr (parts == 2) all = simd::add(all, sum[1][i]);
                if constexpr (parts == 4) all = simd::add(simd::add(all, sum[1][i]), simd::add(sum[2][i], sum[3][i]));
                simd::store(o + i * columns + a, all);
            });
        }
    }
    return j;
}
/// The same of one row of o, from feature `a` on, and of any number of rows of v.
template <class T>
ATTEND_NOINLINE void add_row(const RowBlock<T>& v, const T* weights, Index apart, Index a, T* o) {
    constexpr Index w = simd::width<T>;
    for (; a + w <= v.columns; a += w) {
        auto sum = simd::load(o + a);
        for (Index r = 0; r < v.rows; ++r)
            sum = simd::madd(simd::broadcast(weights[r * apart]), simd::load(v.row(r) + a), sum);
        simd::store(o + a, sum);
    }
    if (const Index rest = v.columns - a; rest > 0) {
        auto sum = simd::load(o + a, rest, T(0));
        for (Index r = 0; r < v.rows; ++r)
            sum = simd::madd(simd::broadcast(weights[r * apart]), simd::load(v.row(r) + a, rest, T(0)), sum);
        simd::store<T>(o + a, sum, rest);
    }
}

/// What `count` rows of o start from: factor_i · o_i, or without `factor` 0.
template <class T>
ATTEND_NOINLINE void start_rows(T* o, Index count, Index columns, const T* factor) {
    constexpr Index w = simd::width<T>;
    const Index size = factor == nullptr ? count * columns : columns;
    for (const T* const end = o + count * columns; o < end; o += size) {
        const auto zero = simd::broadcast(T(0)), by = factor == nullptr ? zero : simd::broadcast(*factor++);
        const auto scaled = [&](const simd::Packet<T>& x) { return factor == nullptr ? zero : simd::mul(x, by); };
        Index a = 0;
        for (; a + w <= size; a += w) simd::store(o + a, scaled(simd::load(o + a)));
        if (a < size) simd::store<T>(o + a, scaled(simd::load(o + a, size - a, T(0))), size - a);
    }
}

/// o_i += Σ_j weight(i, j) · v_j for `count` rows of o that follow each other.
template <class T>
void add_to_rows(const RowBlock<T>& v, const T* weights, Index count, const ScoreStrides& apart, T* o) {
    const Index columns = v.columns, whole = columns / simd::width<T> * simd::width<T>;
    const auto some = [&](auto queries) {
        if constexpr (2 * queries <= simd::width<T>) {
            for (; count >= queries; count -= queries, weights += queries * apart.query, o += queries * columns) {
                const Index j = add_rows_of<queries>(v, weights, apart, o);
                for (int i = 0; i < queries; ++i) {
                    const T* const of_row = weights + i * apart.query;
                    if (whole < columns && j > 0)
                        add_row({v.data, v.stride, j, columns}, of_row, apart.key, whole, o + i * columns);
                    if (j < v.rows)
                        add_row({v.row(j), v.stride, v.rows - j, columns}, of_row + j * apart.key, apart.key, Index(0),
                                o + i * columns);
                }
            }
        }
    };
    some(std::integral_constant<int, 4>()), some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
}

/// The same of factor_i · o_i, or without `factor` of 0.
template <class T>
void add_rows(const RowBlock<T>& v, const T* weights, Index count, const ScoreStrides& apart, const T* factor, T* o) {
    start_rows(o, count, v.columns, factor);
    add_to_rows(v, weights, count, apart, o);
}

}  // namespace attend::detail

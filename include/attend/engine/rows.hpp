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
inline constexpr Index most_few_queries = simd::width<T> == 1 ? 0 : std::max<Index>(1, simd::width<T> / 4);

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

/// So many rows of v are added up before they are added to what stood in o: fewer roundings in a row.
inline constexpr Index rows_at_once = 8;

/// o_i += Σ_r weight(i, r) · v_r for `queries` rows of o and a few rows of v, of `columns` packets of features from `a`
/// on; of the last, where it is not whole, `rest`. In parts, which need not wait for each other; the parts of a row of
/// o do not depend on how many there are.
template <int queries, int columns, bool whole, class T>
ATTEND_ALWAYS_INLINE inline void add_columns(const RowBlock<T>& v, const T* weights, const ScoreStrides& apart, T* o,
                                             Index a, Index rest) {
    constexpr int w = static_cast<int>(simd::width<T>), parts = Registers<T>::vectors;
    using P = simd::Packet<T>;
    const auto load = [&](const T* from)
                          ATTEND_ALWAYS_INLINE { return whole ? simd::load(from) : simd::load(from, rest, T(0)); };
    P sum[parts][columns][queries];
    repeat<columns * queries>([&](auto x) ATTEND_ALWAYS_INLINE {
        constexpr int c = x / queries, i = x % queries;
        sum[0][c][i] = load(o + i * v.columns + a + c * w);
        repeat<parts - 1>([&](auto part) ATTEND_ALWAYS_INLINE { sum[part + 1][c][i] = simd::broadcast(T(0)); });
    });
    const auto add = [&](Index r, auto part) ATTEND_ALWAYS_INLINE {
        P p[queries];
        repeat<queries>([&](auto i)
                            ATTEND_ALWAYS_INLINE { p[i] = simd::broadcast(weights[r * apart.key + i * apart.query]); });
        const T* const row = v.row(r) + a;
        repeat<columns>([&](auto c) ATTEND_ALWAYS_INLINE { add_each(sum[part][c], p, load(row + c * w)); });
    };
    // So few rows that parts would save no time have one sum.
    const bool in_parts = v.rows >= 2 * parts;
    Index r = 0;
    for (; in_parts && r + parts <= v.rows; r += parts)
        repeat<parts>([&](auto part) ATTEND_ALWAYS_INLINE { add(r + part, part); });
    for (; r < v.rows; ++r) add(r, std::integral_constant<int, 0>());
    repeat<columns * queries>([&](auto x) ATTEND_ALWAYS_INLINE {
        constexpr int c = x / queries, i = x % queries;
        P all = sum[0][c][i];
        if constexpr (parts == 4) {
            all = simd::add(simd::add(all, sum[1][c][i]), simd::add(sum[2][c][i], sum[3][c][i]));
        } else {
            repeat<parts - 1>([&](auto part) ATTEND_ALWAYS_INLINE { all = simd::add(all, sum[part + 1][c][i]); });
        }
        T* const to = o + i * v.columns + a + c * w;
        whole ? simd::store(to, all) : simd::store<T>(to, all, rest);
    });
}
/// The same of all features and any number of rows of v.
template <int queries, class T>
ATTEND_NOINLINE void add_rows_of(const RowBlock<T>& v, const T* weights, const ScoreStrides& apart, T* o) {
    constexpr int columns = 4 / queries;
    constexpr Index w = simd::width<T>;
    RowsAhead<T> ahead(v);
    for (Index j = 0; j < v.rows; j += rows_at_once, weights += rows_at_once * apart.key) {
        const RowBlock<T> some{v.row(j), v.stride, std::min(rows_at_once, v.rows - j), v.columns};
        Index a = 0;
        for (; a + columns * w <= v.columns; a += columns * w) {
            add_columns<queries, columns, true>(some, weights, apart, o, a, w);
            ahead.next(some.rows, columns * w * Index(sizeof(T)));
        }
        if constexpr (columns > 1) {
            for (; a + w <= v.columns; a += w) {
                add_columns<queries, 1, true>(some, weights, apart, o, a, w);
                ahead.next(some.rows, w * Index(sizeof(T)));
            }
        }
        if (a < v.columns) add_columns<queries, 1, false>(some, weights, apart, o, a, v.columns - a);
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
    const auto some = [&](auto queries) {
        if constexpr (2 * queries <= simd::width<T>) {
            for (; count >= queries; count -= queries, weights += queries * apart.query, o += queries * v.columns)
                add_rows_of<queries>(v, weights, apart, o);
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

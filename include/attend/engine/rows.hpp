#pragma once
/// \file
/// The two products for a few queries: lanes are features there, so that none is idle. Rows that are held as numbers of
/// fewer bits are converted in registers, on their way into the product.

#include <algorithm>
#include <type_traits>

#include <attend/core/read_ahead.hpp>
#include <attend/core/repeat.hpp>
#include <attend/core/stored.hpp>
#include <attend/engine/packets.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// So many queries of a head are few. However many heads share their keys: the bits of a head do not depend on those
/// beside it.
template <class T>
inline constexpr Index most_few_queries = simd::width<T> == 1 ? 0 : std::max<Index>(1, simd::width<T> / 4);

/// to(i, r) = from(i, r), times the factor of row r where rows have such, for `count` lines and the rows from `begin`
/// on.
template <class T, class Rows>
ATTEND_ALWAYS_INLINE inline void times_factors([[maybe_unused]] const Rows& rows, Index begin, Index end, Index count,
                                               const T* from, const ScoreStrides& apart, T* to,
                                               const ScoreStrides& to_apart) {
    constexpr Index w = simd::width<T>;
    for (Index i = 0; i < count; ++i, from += apart.query, to += to_apart.query) {
        Index r = 0;
        for (; apart.key == 1 && to_apart.key == 1 && r + begin < end; r += w) {
            const Index some = std::min(w, end - begin - r);
            auto x = simd::load(from + r, some, T(0));
            if constexpr (HasFactors<Rows>) x = simd::mul(x, simd::load_as<T>(rows.factors + begin + r, some));
            simd::store<T>(to + r, x, some);
        }
        for (; r + begin < end; ++r) {
            T x = from[r * apart.key];
            if constexpr (HasFactors<Rows>) x *= static_cast<T>(rows.factors[begin + r]);
            to[r * to_apart.key] = x;
        }
    }
}

/// How features are multiplied: a packet of T at a time, to which rows are widened.
template <class T>
struct WidenedFeatures {
    using Query = T;
    static constexpr Index step = simd::width<T>;

    ATTEND_ALWAYS_INLINE static simd::Packet<T> load(const auto& from) {
        return simd::in_register(simd::load_as<T>(from));
    }
    ATTEND_ALWAYS_INLINE static simd::Packet<T> load(const auto& from, Index count) {
        return simd::load_as<T>(from, count);
    }
    template <int n>
    ATTEND_ALWAYS_INLINE static void add(simd::Packet<T> (&sums)[n], const simd::Packet<T> (&q)[n],
                                         const simd::Packet<T>& k) {
        add_each(sums, q, k);
    }
};

/// The products of `queries` rows of q with width / queries keys at a time.
template <int queries, class Features, class T, class Rows>
ATTEND_NOINLINE void dot_rows_of(const Rows& k, const typename Features::Query* q, Index q_apart, T* s,
                                 const ScoreStrides& apart) {
    constexpr int keys = static_cast<int>(simd::width<T>) / queries, at_once = std::min(4, keys);
    constexpr Index step = Features::step;
    using P = simd::Packet<T>;
    using F = decltype(Features::load(q));
    const Index whole = k.columns / step * step, rest = k.columns - whole;
    RowsAhead<typename Rows::Scalar> ahead(k);
    for (Index j = 0; j < k.rows; j += keys) {
        P sums[simd::width<T>];
        ATTEND_UNROLLED
        for (int r = 0; r < keys; r += at_once) {
            P sum[at_once][queries];
            repeat<at_once * queries>(
                [&](auto x) ATTEND_ALWAYS_INLINE { sum[x / queries][x % queries] = simd::broadcast(T(0)); });
            decltype(numbers_of(k.row(0))) key[at_once];
            repeat<at_once>([&](auto x)
                                ATTEND_ALWAYS_INLINE { key[x] = numbers_of(k.row(std::min(j + r + x, k.rows - 1))); });
            F q_a[queries];
            for (Index a = 0; a < whole; a += step) {
                repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { q_a[i] = Features::load(q + i * q_apart + a); });
                repeat<at_once>([&](auto x)
                                    ATTEND_ALWAYS_INLINE { Features::add(sum[x], q_a, Features::load(key[x] + a)); });
            }
            if (rest > 0) {
                repeat<queries>([&](auto i)
                                    ATTEND_ALWAYS_INLINE { q_a[i] = Features::load(q + i * q_apart + whole, rest); });
                repeat<at_once>([&](auto x) ATTEND_ALWAYS_INLINE {
                    Features::add(sum[x], q_a, Features::load(key[x] + whole, rest));
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
        T products[simd::width<T>];
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

/// How often the rows will be read, a few queries at a time: where that is more than once, what stands behind them has
/// time to come.
template <class T, class Rows>
void plan_passes(Rows& rows, Index count) {
    constexpr Index most = std::clamp<Index>(simd::width<T> / 2, 1, 4);
    if constexpr (requires { rows.passes; }) rows.passes = (count + most - 1) / most;
}
template <class Rows>
void next_pass(Rows& rows) {
    if constexpr (requires { rows.pass; }) ++rows.pass;
}

/// The score of query i and key j is k_j · q_i, for `count` rows of q that follow each other. Where the scores of a
/// query follow each other, anything may be written behind them up to the next multiple of the packet's width.
template <class T, class Features, class Rows>
void dot_rows(Rows k, const typename Features::Query* q, Index q_apart, Index count, T* s, const ScoreStrides& apart) {
    plan_passes<T>(k, count);
    const auto some = [&](auto queries) {
        if constexpr (2 * queries <= simd::width<T>) {
            for (; count >= queries;
                 count -= queries, q += queries * q_apart, s += queries * apart.query, next_pass(k)) {
                dot_rows_of<queries, Features>(k, q, q_apart, s, apart);
                if constexpr (HasFactors<Rows>) times_factors<T>(k, 0, k.rows, queries, s, apart, s, apart);
            }
        }
    };
    some(std::integral_constant<int, 4>()), some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
}

template <class T, class Rows = RowBlock<T>>
void dot_rows(const Rows& k, const T* q, Index count, T* s, const ScoreStrides& apart) {
    dot_rows<T, WidenedFeatures<T>>(k, q, k.columns, count, s, apart);
}

/// So many rows of v are added up before they are added to what stood in o: fewer roundings in a row. They are added up
/// in so many parts, which need not wait for each other.
inline constexpr Index rows_at_once = 16;
inline constexpr int row_parts = 2;

/// o_i += Σ_r weight(i, r) · v_r for `queries` rows of o and a few rows of v, of `columns` packets of features from `a`
/// on; of the last, where it is not whole, `rest`. The parts of a row of o do not depend on how many rows there are.
template <int queries, int columns, bool whole, class T, class Rows>
ATTEND_ALWAYS_INLINE inline void add_columns(const Rows& v, const T* weights, const ScoreStrides& apart, T* o, Index a,
                                             Index rest) {
    constexpr int w = static_cast<int>(simd::width<T>), parts = row_parts;
    using P = simd::Packet<T>;
    const auto load = [&](const auto& from) ATTEND_ALWAYS_INLINE {
        return whole ? simd::load_as<T>(from) : simd::load_as<T>(from, rest);
    };
    P sum[parts][columns][queries];
    repeat<columns * queries>([&](auto x) ATTEND_ALWAYS_INLINE {
        constexpr int c = x / queries, i = x % queries;
        sum[0][c][i] = load(o + i * v.columns + a + c * w);
        repeat<parts - 1>([&](auto part) ATTEND_ALWAYS_INLINE { sum[part + 1][c][i] = simd::broadcast(T(0)); });
    });
    const auto add = [&](Index r, auto part) ATTEND_ALWAYS_INLINE {
        P p[queries];
        repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE {
            p[i] = simd::in_register(simd::broadcast(weights[r * apart.key + i * apart.query]));
        });
        const auto row = numbers_of(v.row(r)) + a;
        repeat<columns>([&](auto c)
                            ATTEND_ALWAYS_INLINE { add_each(sum[part][c], p, simd::in_register(load(row + c * w))); });
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
        repeat<parts - 1>([&](auto part) ATTEND_ALWAYS_INLINE { all = simd::add(all, sum[part + 1][c][i]); });
        T* const to = o + i * v.columns + a + c * w;
        whole ? simd::store(to, all) : simd::store<T>(to, all, rest);
    });
}
/// The same of all features and any number of rows of v.
template <int queries, class T, class Rows>
ATTEND_NOINLINE void add_rows_of(const Rows& v, const T* weights, const ScoreStrides& apart, T* o) {
    using S = typename Rows::Scalar;
    constexpr int columns = std::min(4, 2 * Registers<T>::vectors / queries);  // with their parts in registers
    constexpr Index w = simd::width<T>;
    RowsAhead<S> ahead(v);
    const auto add = [&](const auto& some, const T* of, const ScoreStrides& of_apart) ATTEND_ALWAYS_INLINE {
        Index a = 0;
        for (; a + columns * w <= some.columns; a += columns * w) {
            add_columns<queries, columns, true>(some, of, of_apart, o, a, w);
            ahead.next(some.rows, columns * w * Index(sizeof(S)) / numbers_in<S>);
        }
        if constexpr (columns > 1) {
            for (; a + w <= some.columns; a += w) {
                add_columns<queries, 1, true>(some, of, of_apart, o, a, w);
                ahead.next(some.rows, w * Index(sizeof(S)) / numbers_in<S>);
            }
        }
        if (a < some.columns) add_columns<queries, 1, false>(some, of, of_apart, o, a, some.columns - a);
    };
    for (Index j = 0; j < v.rows; j += rows_at_once, weights += rows_at_once * apart.key) {
        const auto some = v.part(j, std::min(rows_at_once, v.rows - j));
        // In one place, so far apart as the compiler knows: their addresses need no registers then.
        alignas(64) T here[queries * rows_at_once];
        times_factors<T>(v, j, j + some.rows, queries, weights, apart, here, {rows_at_once, 1});
        add(some, here, {rows_at_once, 1});
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
template <class T, class Rows = RowBlock<T>>
void add_to_rows(Rows v, const T* weights, Index count, const ScoreStrides& apart, T* o) {
    plan_passes<T>(v, count);
    const auto some = [&](auto queries) {
        if constexpr (2 * queries <= simd::width<T>) {
            for (; count >= queries;
                 count -= queries, weights += queries * apart.query, o += queries * v.columns, next_pass(v))
                add_rows_of<queries>(v, weights, apart, o);
        }
    };
    some(std::integral_constant<int, 4>()), some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
}

/// The same of factor_i · o_i, or without `factor` of 0.
template <class T, class Rows = RowBlock<T>>
void add_rows(const Rows& v, const T* weights, Index count, const ScoreStrides& apart, const T* factor, T* o) {
    start_rows(o, count, v.columns, factor);
    add_to_rows(v, weights, count, apart, o);
}

}  // namespace attend::detail

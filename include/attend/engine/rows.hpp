#pragma once
/// \file
/// The two products for a few queries: lanes are features there, so that none is idle.

#include <algorithm>
#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/core/simd.hpp>
#include <attend/engine/packets.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// So many queries of a head are few. However many heads share their keys: the bits of a head do not depend on those
/// beside it.
template <class T>
inline constexpr Index most_few_queries = simd::width<T> == 1 ? 0 : std::max<Index>(1, simd::width<T> / 8);

/// The products of `queries` rows of q with width / queries keys at a time. Key after key, feature after feature: the
/// order in which a processor sees what comes next and fetches it.
template <int queries, class T>
ATTEND_NOINLINE void dot_rows_of(const RowBlock<T>& k, const T* q, T* s, const ScoreStrides& apart) {
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
            repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { sums[i * keys + r] = sum[i]; });
        });
        if constexpr (queries == 1) {
            if (apart.key == 1) {
                simd::store(s + j, simd::sums_of_rows<T>(sums));
                continue;
            }
        }
        T products[w];
        simd::store(products, simd::sums_of_rows<T>(sums));
        const Index here = std::min<Index>(keys, k.rows - j);
        repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE {
            T* const to = s + i * apart.query + j * apart.key;
            if (apart.key == 1) {
                std::copy_n(products + i * keys, keys, to);
            } else {
                for (Index r = 0; r < here; ++r) to[r * apart.key] = products[i * keys + r];
            }
        });
    }
}

/// The score of query i and key j is k_j · q_i, for `count` rows of q that follow each other. Where the scores of a
/// query follow each other, zeros may be written behind them up to the next multiple of the packet's width.
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

/// What the sums of outputs start from.
enum class Start { zero, rescaled, added };

/// o_i = start + Σ_r weight(i, r) · v_r for `queries` rows of o and as many rows of v as weights fit into the
/// registers, or for `rest` rows, fewer than those.
template <int queries, int keys, Start start, class T>
ATTEND_NOINLINE void add_rows_of(const RowBlock<T>& v, const T* weights, const ScoreStrides& apart,
                                 [[maybe_unused]] const T* factor, T* o) {
    constexpr Index w = simd::width<T>;
    using P = simd::Packet<T>;
    const Index columns = v.columns;
    [[maybe_unused]] P p[std::max(1, keys * queries)];
    repeat<keys * queries>([&](auto x) ATTEND_ALWAYS_INLINE {
        p[x] = simd::broadcast(weights[x / queries * apart.key + x % queries * apart.query]);
    });
    const auto add = [&](Index a, auto&& load, auto&& store) ATTEND_ALWAYS_INLINE {
        P sum[queries];
        repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE {
            if constexpr (start == Start::zero) {
                sum[i] = simd::broadcast(T(0));
            } else {
                sum[i] = load(o + i * columns + a);
                if constexpr (start == Start::rescaled) sum[i] = simd::mul(simd::broadcast(factor[i]), sum[i]);
            }
        });
        if constexpr (keys > 0) {
            repeat<keys>([&](auto r) ATTEND_ALWAYS_INLINE {
                const P v_r = load(v.row(r) + a);
                repeat<queries>([&](auto i)
                                    ATTEND_ALWAYS_INLINE { sum[i] = simd::madd(p[r * queries + i], v_r, sum[i]); });
            });
        } else {
            for (Index r = 0; r < v.rows; ++r) {
                const P v_r = load(v.row(r) + a);
                repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE {
                    sum[i] = simd::madd(simd::broadcast(weights[r * apart.key + i * apart.query]), v_r, sum[i]);
                });
            }
        }
        repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { store(o + i * columns + a, sum[i]); });
    };
    Index a = 0;
    for (; a + w <= columns; a += w) {
        add(
            a, [](const T* from) ATTEND_ALWAYS_INLINE { return simd::load(from); },
            [](T* to, const P& x) ATTEND_ALWAYS_INLINE { simd::store(to, x); });
    }
    if (const Index rest = columns - a; rest > 0) {
        add(
            a, [rest](const T* from) { return simd::load(from, rest, T(0)); },
            [rest](T* to, const P& x) { simd::store<T>(to, x, rest); });
    }
}

/// o_i = factor_i · o_i + Σ_j weight(i, j) · v_j for `count` rows of o that follow each other; without `factor` they
/// start at 0.
template <class T>
void add_rows(const RowBlock<T>& v, const T* weights, Index count, const ScoreStrides& apart, const T* factor, T* o) {
    const auto some = [&](auto queries) {
        if constexpr (2 * queries <= simd::width<T>) {
            constexpr int keys = Registers<T>::vectors * 4 / queries;  // so many weights fit into the registers
            for (; count >= queries; count -= queries, weights += queries * apart.query, o += queries * v.columns) {
                Start start = factor == nullptr ? Start::zero : Start::rescaled;
                for (Index j = 0; j < v.rows; j += keys, start = Start::added) {
                    const RowBlock<T> here{v.row(j), v.stride, std::min<Index>(keys, v.rows - j), v.columns};
                    const auto add = [&](auto from) {
                        here.rows == keys
                            ? add_rows_of<queries, keys, from>(here, weights + j * apart.key, apart, factor, o)
                            : add_rows_of<queries, 0, from>(here, weights + j * apart.key, apart, factor, o);
                    };
                    if (start == Start::zero) add(std::integral_constant<Start, Start::zero>());
                    if (start == Start::rescaled) add(std::integral_constant<Start, Start::rescaled>());
                    if (start == Start::added) add(std::integral_constant<Start, Start::added>());
                }
                if (factor != nullptr) factor += queries;
            }
        }
    };
    some(std::integral_constant<int, 4>()), some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
}

}  // namespace attend::detail

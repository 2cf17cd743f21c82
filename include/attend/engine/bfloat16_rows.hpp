#pragma once
/// \file
/// The two products for a few queries of rows that are bfloat16, by pairs of them: of features in the scores, of rows
/// in the weighted values. Queries and weights are rounded.

#include <attend/engine/bfloat16_pairs.hpp>
#include <attend/engine/rows.hpp>

namespace attend::inline ATTEND_ABI::detail {

#if defined(ATTEND_AVX512_BF16)

/// Rows whose numbers are multiplied by pairs. Those of 8 and 4 bits are bfloat16 too, but for a factor of the row: to
/// widen 16 rows of them into memory first, by tables of bytes, took as long as their products in float or longer.
template <class Rows>
concept PairedRows = std::is_same_v<Rows, RowBlock<Eigen::bfloat16>>;

/// So many scalars of a row, from any alignment; the others are 0.
ATTEND_ALWAYS_INLINE inline __m512i load_bfloat16(const Eigen::bfloat16* from, Index count = 32) {
    if (count == 32) return _mm512_loadu_si512(from);
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>(0xffffffff >> (32 - count)), from);
}

/// How features are multiplied: 32 of a row, as they are.
struct PairedFeatures {
    using Query = Eigen::bfloat16;
    static constexpr Index step = 32;

    ATTEND_ALWAYS_INLINE static __m512i load(const Eigen::bfloat16* from) { return load_bfloat16(from); }
    ATTEND_ALWAYS_INLINE static __m512i load(const Eigen::bfloat16* from, Index count) {
        return load_bfloat16(from, count);
    }
    template <int n>
    ATTEND_ALWAYS_INLINE static void add(__m512 (&sums)[n], const __m512i (&q)[n], const __m512i& k) {
        repeat<n>([&](auto i)
                      ATTEND_ALWAYS_INLINE { sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)q[i], (__m512bh)k); });
    }
};

/// The scores of `count` queries, a few at a time: these are rounded anew for each tile of keys, which is little beside
/// its products.
inline void dot_pairs(const RowBlock<Eigen::bfloat16>& k, const float* q, Index count, float* s,
                      const ScoreStrides& apart) {
    constexpr Index at_once = 4, most_columns = 256;
    if (k.columns > most_columns) return dot_rows<float>(k, q, count, s, apart);
    alignas(64) Eigen::bfloat16 rounded[at_once * most_columns];
    const Index q_apart = (k.columns + 31) / 32 * 32;
    RowBlock<Eigen::bfloat16> rows = k;
    for (Index i = 0; i < count; i += at_once) {
        const Index some = std::min(at_once, count - i);
        for (Index r = 0; r < some; ++r) {
            const float* const row = q + (i + r) * k.columns;
            for (Index a = 0; a < k.columns; a += 16) {
                const __m512 x = simd::load<float>(row + a, std::min<Index>(16, k.columns - a), 0.F);
                _mm256_store_si256(reinterpret_cast<__m256i*>(rounded + r * q_apart + a),
                                   (__m256i)_mm512_cvtneps_pbh(x));
            }
        }
        dot_rows<float, PairedFeatures>(rows, rounded, q_apart, some, s + i * apart.query, apart);
    }
}

/// o_i += Σ weight(i, r) · v_r for up to 16 rows of v, two at a time, and `packets` packets of features from `a` on;
/// `weights` are words of two, eight for each query.
template <int queries, int packets>
ATTEND_ALWAYS_INLINE inline void add_paired_rows(const RowBlock<Eigen::bfloat16>& v, const int* weights, float* o,
                                                 Index a, Index count) {
    static_assert(packets % 2 == 0);
    alignas(64) static constexpr short order[2][32] = {
        {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
         8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47},
        {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
         24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63}};
    const __m512i first = _mm512_load_si512(order[0]), second = _mm512_load_si512(order[1]);
    const auto left = [&](int c) ATTEND_ALWAYS_INLINE { return std::clamp<Index>(count - c * 16, 0, 16); };
    __m512 sum[packets][queries];
    repeat<packets * queries>([&](auto x) ATTEND_ALWAYS_INLINE {
        constexpr int c = x / queries, i = x % queries;
        sum[c][i] =
            left(c) == 0 ? _mm512_setzero_ps() : simd::load<float>(o + i * v.columns + a + c * 16, left(c), 0.F);
    });
    for (Index r = 0; r < v.rows; r += 2) {
        __m512i p[queries];
        repeat<queries>([&](auto i) ATTEND_ALWAYS_INLINE { p[i] = _mm512_set1_epi32(weights[8 * i + r / 2]); });
        repeat<packets / 2>([&](auto c) ATTEND_ALWAYS_INLINE {
            const Index some = std::clamp<Index>(count - c * 32, 0, 32);
            if (some == 0) return;
            const auto load = [&](Index row) ATTEND_ALWAYS_INLINE {
                return row < v.rows ? load_bfloat16(v.row(row) + a + c * 32, some) : _mm512_setzero_si512();
            };
            const __m512i x = load(r), y = load(r + 1);
            const __m512i pairs[2] = {_mm512_permutex2var_epi16(x, first, y), _mm512_permutex2var_epi16(x, second, y)};
            repeat<2 * queries>([&](auto n) ATTEND_ALWAYS_INLINE {
                constexpr int half = n / queries, i = n % queries;
                __m512& to = sum[2 * c + half][i];
                to = _mm512_dpbf16_ps(to, (__m512bh)p[i], (__m512bh)pairs[half]);
            });
        });
    }
    repeat<packets * queries>([&](auto x) ATTEND_ALWAYS_INLINE {
        constexpr int c = x / queries, i = x % queries;
        if (left(c) > 0) simd::store<float>(o + i * v.columns + a + c * 16, sum[c][i], left(c));
    });
}
template <int queries>
ATTEND_NOINLINE void add_paired_rows_of(const RowBlock<Eigen::bfloat16>& v, const float* weights,
                                        const ScoreStrides& apart, float* o) {
    constexpr int packets = queries == 4 ? 4 : 8;
    RowsAhead<Eigen::bfloat16> ahead(v);
    for (Index j = 0; j < v.rows; j += rows_at_once, weights += rows_at_once * apart.key) {
        const auto some = v.part(j, std::min(rows_at_once, v.rows - j));
        alignas(64) float here[queries * rows_at_once] = {};
        alignas(64) int words[queries * rows_at_once / 2];
        times_factors<float>(v, j, j + some.rows, queries, weights, apart, here, {rows_at_once, 1});
        repeat<queries>([&](auto i) {
            _mm256_store_si256(reinterpret_cast<__m256i*>(words + i * rows_at_once / 2),
                               (__m256i)_mm512_cvtneps_pbh(simd::load(here + i * rows_at_once)));
        });
        Index a = 0;
        for (; a + 16 * packets <= some.columns; a += 16 * packets) {
            add_paired_rows<queries, packets>(some, words, o, a, 16 * packets);
            ahead.next(some.rows, 16 * packets * Index(sizeof(Eigen::bfloat16)));
        }
        for (; a < some.columns; a += 32) add_paired_rows<queries, 2>(some, words, o, a, some.columns - a);
    }
}

/// o_i = factor_i · o_i + Σ weight(i, j) · v_j, or without `factor` of 0.
inline void add_pairs(RowBlock<Eigen::bfloat16> v, const float* weights, Index count, const ScoreStrides& apart,
                      const float* factor, float* o) {
    start_rows(o, count, v.columns, factor);
    plan_passes<float>(v, count);
    const auto some = [&](auto queries) {
        for (; count >= queries;
             count -= queries, weights += queries * apart.query, o += queries * v.columns, next_pass(v))
            add_paired_rows_of<queries>(v, weights, apart, o);
    };
    some(std::integral_constant<int, 4>()), some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
}

#endif

}  // namespace attend::detail

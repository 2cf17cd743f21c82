#pragma once
/// \file
/// Floats as sums of numbers of 16 bits, in the order in which AMX's tiles multiply them.
///
/// Each float is the sum of three bfloat16, x = x1 + x2 + x3 with 8 bits each. Of the nine products of x and y the six
/// that matter, x1 y1, x1 y2, x2 y1, x2 y2, x1 y3 and x3 y1, are added up in float; those left out come to 2^-21 of the
/// product at most, to 2^-24 on average: one rounding. Denormal numbers count as 0, and so do the lower parts of
/// products below 1e-33.
///
/// Source: Henry, Tang and Heinecke 2019, Leveraging the bfloat16 artificial intelligence datatype for higher-precision
/// computations.

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <attend/engine/amx_tiles.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// The bfloat16 thirds of the operands of a product: what memory they take.
struct Thirds {
    static constexpr Index count = 3;

    /// Bytes of a split operand: of so many rows or lanes, and the scalars of each that are multiplied.
    static constexpr Index bytes(Index lines, Index depth) {
        return tiles(lines, amx::tile_rows) * tiles(depth, amx::tile_depth) * count * amx::tile_bytes;
    }
};

#if defined(ATTEND_AMX)

/// The thirds of 16 pairs of floats, each a word: the lower half from a, the upper from b. NaN stays NaN.
ATTEND_ALWAYS_INLINE inline void split_pairs(__m512 a, __m512 b, std::byte* to) {
    const __m512i upper_half = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    const auto upper = [&](__m512 x) ATTEND_ALWAYS_INLINE {
        return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), upper_half));
    };
    constexpr int first_or_second_and_third = 0xf8;
    repeat<Thirds::count>([&](auto part) ATTEND_ALWAYS_INLINE {
        const __m512i words = _mm512_ternarylogic_epi32(_mm512_srli_epi32(_mm512_castps_si512(a), 16),
                                                        _mm512_castps_si512(b), upper_half, first_or_second_and_third);
        _mm512_store_si512(to + part * amx::tile_bytes, words);
        if constexpr (part + 1 < Thirds::count) {
            a = _mm512_sub_ps(a, upper(a));
            b = _mm512_sub_ps(b, upper(b));
        }
    });
}

/// The same, minding what is not finite: it shows in `sum_of_zeros`, or counts as 0.
template <bool finite_only>
ATTEND_ALWAYS_INLINE inline void split_minding(__m512 a, __m512 b, std::byte* to, __m512& sum_of_zeros) {
    const __m512 zero = _mm512_setzero_ps();
    if constexpr (finite_only) {
        a = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_sub_ps(a, a), zero, _CMP_EQ_OQ), a);
        b = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_sub_ps(b, b), zero, _CMP_EQ_OQ), b);
    } else {
        sum_of_zeros = _mm512_fmadd_ps(b, zero, _mm512_fmadd_ps(a, zero, sum_of_zeros));
    }
    split_pairs(a, b, to);
}

/// Calls `split(finite_only, sum_of_zeros)`, which splits an operand, and once more if it met something that is not
/// finite. Returns whether all is.
template <class F>
bool split_finite(F&& split) {
    __m512 sum = _mm512_setzero_ps();
    split(std::false_type(), sum);
    if (simd::sum<float>(sum) == 0) return true;
    split(std::true_type(), sum);
    return false;
}

/// The next 16 scalars of a run of which `left` are left, 0 behind its end.
ATTEND_ALWAYS_INLINE inline __m512 load_left(const float* run, Index left) {
    if (left >= 16) return simd::load(run);
    return left <= 0 ? _mm512_setzero_ps() : simd::load<float>(run, left, 0.F);
}

/// A of a product, rows × depth, split into `to`. Returns whether all of it is finite; what is not counts as 0.
inline bool split_rows(const StridedMatrix<float>& a, Index rows, Index depth, std::byte* to) {
    constexpr Index size = amx::tile_rows, half = amx::tile_depth / 2;
    const Index steps = tiles(depth, amx::tile_depth), step_bytes = Thirds::count * amx::tile_bytes;
    return split_finite([&](auto finite_only, __m512& sum) {
        const auto pairs = [&](Index r, Index step, const __m512& x, const __m512& y) ATTEND_ALWAYS_INLINE {
            split_minding<finite_only>(x, y, to + (r / size * steps + step) * step_bytes + r % size * 64, sum);
        };
        if (a.depth_stride == 1) {
            for (Index r = 0; r < rows; ++r) {
                const float* const row = a.data + r * a.row_stride;
                for (Index step = 0, k = 0; step < steps; ++step, k += 2 * half)
                    pairs(r, step, load_left(row + k, depth - k), load_left(row + k + half, depth - k - half));
            }
            return;
        }
        alignas(64) float block[2][size][half];
        const auto transposed = [&](Index r, Index k, float(&to_block)[size][half]) {
            simd::Packet<float> columns[half];
            for (Index i = 0; i < half; ++i) {
                const float* const column = a.data + (k + i) * a.depth_stride;
                if (k + i >= depth) {
                    columns[i] = _mm512_setzero_ps();
                } else if (a.row_stride == 1) {
                    columns[i] = load_left(column + r, rows - r);
                } else {
                    for (Index j = 0; j < size; ++j)
                        to_block[i][j] = r + j < rows ? column[(r + j) * a.row_stride] : 0.F;
                    columns[i] = simd::load(to_block[i]);
                }
            }
            simd::transpose<float>(columns);
            for (Index i = 0; i < size; ++i) simd::store(to_block[i], columns[i]);
        };
        for (Index r = 0; r < rows; r += size) {
            for (Index step = 0, k = 0; step < steps; ++step, k += 2 * half) {
                transposed(r, k, block[0]);
                transposed(r, k + half, block[1]);
                for (Index i = 0; i < size; ++i) pairs(r + i, step, simd::load(block[0][i]), simd::load(block[1][i]));
            }
        }
    });
}

/// B of a product, depth × lanes of which there are whole packets, split into `to`.
inline bool split_lanes(const float* b, Index depth, Index lanes, std::byte* to) {
    constexpr Index size = amx::tile_rows, half = amx::tile_depth / 2;
    const Index steps = tiles(depth, amx::tile_depth), step_bytes = Thirds::count * amx::tile_bytes;
    return split_finite([&](auto finite_only, __m512& sum) {
        const auto row = [&](Index k, Index lane) ATTEND_ALWAYS_INLINE {
            return k < depth ? simd::load(b + k * lanes + lane) : _mm512_setzero_ps();
        };
        for (Index lane = 0; lane < lanes; lane += size) {
            for (Index step = 0; step < steps; ++step) {
                std::byte* const tile = to + (lane / size * steps + step) * step_bytes;
                for (Index i = 0, k = step * 2 * half; i < half; ++i, ++k)
                    split_minding<finite_only>(row(k, lane), row(k + half, lane), tile + i * 64, sum);
            }
        }
    });
}

#endif

}  // namespace attend::detail

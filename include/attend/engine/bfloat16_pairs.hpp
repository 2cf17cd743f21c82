#pragma once
/// \file
/// Products of operands that are bfloat16, or rounded to it, by AVX512-BF16: an instruction multiplies pairs of them,
/// twice as many numbers as floats, and adds both products to a float.
///
/// Packed, an operand is words of two neighbours along the depth: A row after row as it is read, B a packet of lanes
/// for each pair. Denormal numbers count as 0.

#include <algorithm>
#include <cstring>
#include <type_traits>

#include <attend/engine/packets.hpp>

// Not on GCC's and Clang's word alone: the rows around are Eigen's packets of AVX-512.
#if defined(__AVX512BF16__) && defined(EIGEN_VECTORIZE_AVX512) && !defined(ATTEND_GNU_PACKETS) && \
    !defined(ATTEND_NO_AVX512_BF16)
#define ATTEND_AVX512_BF16 1
#include <immintrin.h>
#endif

namespace attend::inline ATTEND_ABI::detail {

#if defined(ATTEND_AVX512_BF16)

/// Two packets of floats, each rounded to bfloat16, a word of both in each lane.
ATTEND_ALWAYS_INLINE inline __m512i bfloat16_pairs(__m512 first, __m512 second) {
    // All of the first, then all of the second, as one instruction rounds them; then side by side.
    const auto both = (__m512i)_mm512_cvtne2ps_pbh(second, first);
    alignas(64) static constexpr short order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_load_si512(order), both);
}

/// One word of two bfloat16, in all lanes.
ATTEND_ALWAYS_INLINE inline __m512i broadcast_pair(const std::byte* word) {
    int x;  // it may stand between two words, where rows are read in place
    std::memcpy(&x, word, sizeof x);
    return _mm512_set1_epi32(x);
}

/// `rows` rows of C, `vectors` packets wide.
template <int rows, int vectors>
ATTEND_NOINLINE void multiply_pairs(const RowOperand<float>& a, Index first, Index pairs, const int* b, Index lanes,
                                    float* c, const ProductOptions<float>& options) {
    constexpr Index w = 16;
    __m512 tile[rows][vectors];
    const auto each = [&](auto&& f) ATTEND_ALWAYS_INLINE {
        repeat<rows * vectors>(
            [&](auto i) ATTEND_ALWAYS_INLINE { f(tile[i / vectors][i % vectors], i / vectors, i % vectors); });
    };
    each([&](__m512& x, int, int) ATTEND_ALWAYS_INLINE { x = _mm512_setzero_ps(); });
    const std::byte* row[rows];
    repeat<rows>([&](auto r) ATTEND_ALWAYS_INLINE { row[r] = a.packed + (first + r) * a.packed_row; });
    const Index step = a.packed_step;
    const Index group = pairs * w;
    for (Index k = 0; k < pairs; ++k, b += w) {
        __m512i b_k[vectors];
        repeat<vectors>([&](auto v) ATTEND_ALWAYS_INLINE {
            b_k[v] = _mm512_load_si512(b + v * group);
            in_register(b_k[v]);
        });
        repeat<rows>([&](auto r) ATTEND_ALWAYS_INLINE {
            const auto x = broadcast_pair(row[r] + k * step);
            repeat<vectors>([&](auto v) ATTEND_ALWAYS_INLINE {
                tile[r][v] = _mm512_dpbf16_ps(tile[r][v], (__m512bh)x, (__m512bh)b_k[v]);
            });
        });
    }
    if (options.scale != 1) {
        const auto scale = _mm512_set1_ps(options.scale);
        each([&](__m512& x, int, int) ATTEND_ALWAYS_INLINE { x = _mm512_mul_ps(x, scale); });
    }
    if (options.factor != nullptr) {
        each([&](__m512& x, int r, int v) ATTEND_ALWAYS_INLINE {
            x = simd::madd(simd::load(options.factor + v * w), simd::load(c + r * lanes + v * w), x);
        });
    }
    each([&](const __m512& x, int r, int v) ATTEND_ALWAYS_INLINE { simd::store(c + r * lanes + v * w, x); });
    if (options.largest == nullptr) return;
    __m512 largest[vectors];
    repeat<vectors>([&](auto v) ATTEND_ALWAYS_INLINE { largest[v] = simd::load(options.largest + v * w); });
    each([&](const __m512& x, int, int v) ATTEND_ALWAYS_INLINE { largest[v] = simd::max(largest[v], x); });
    repeat<vectors>([&](auto v) ATTEND_ALWAYS_INLINE { simd::store(options.largest + v * w, largest[v]); });
}

template <int most, int vectors>
void multiply_rows_of_pairs(const RowOperand<float>& a, Index first, Index rows, Index pairs, const int* b, Index lanes,
                            float* c, const ProductOptions<float>& options) {
    for (; rows >= most && !(most == 6 && (rows == 8 || rows == 9)); rows -= most) {
        multiply_pairs<most, vectors>(a, first, pairs, b, lanes, c, options);
        if (options.ahead != nullptr) options.ahead->some(lines_of_tile);
        first += most;
        c += most * lanes;
    }
    if constexpr (most > 1) {
        constexpr int next = most > 4 ? 4 : 1;
        if (rows > 0) multiply_rows_of_pairs<next, vectors>(a, first, rows, pairs, b, lanes, c, options);
    }
}

/// Products of what is bfloat16 already, or rounded to it.
struct BFloat16Pairs {
    /// Packed operands are rounded, so that a factor of the queries which would not keep their bits is better applied
    /// to the product.
    static constexpr bool rounds = true;
    static constexpr Index least_keys = 1;

    struct Session {
        explicit Session(bool) {}
    };

    static constexpr bool packs(Index width, Index d_v) { return std::min(width, d_v) >= 16; }
    static constexpr Index pairs(Index depth) { return (depth + 1) / 2; }
    static constexpr Index packed_bytes(Index lines, Index depth) { return whole(lines) * whole(pairs(depth)) * word; }

    /// A whose rows are columns in memory, as those of values that are weighted, is packed a pair of columns at a time.
    void pack(RowOperand<float>& a, Index rows, Index depth, std::byte* to) const {
        const StridedMatrix<float>& x = a.matrix;
        a.packed = to;
        if (x.row_stride == 1 && x.depth_stride != 1) {
            pairs_side_by_side(a, rows);
            const auto load = [&](Index k, Index r) ATTEND_ALWAYS_INLINE {
                return k < depth
                           ? simd::load<float>(x.data + k * x.depth_stride + r, std::min<Index>(16, rows - r), 0.F)
                           : _mm512_setzero_ps();
            };
            for (Index k = 0; k < depth; k += 2, to += a.packed_step) {
                for (Index r = 0; r < rows; r += 16)
                    _mm512_store_si512(to + r * word, bfloat16_pairs(load(k, r), load(k + 1, r)));
            }
            return;
        }
        a.packed_row = whole(pairs(depth)) * word;
        a.packed_step = word;
        for (Index r = 0; r < rows; ++r, to += a.packed_row) {
            for (Index k = 0; k < depth; k += 32) {
                const auto part = [&](Index from) ATTEND_ALWAYS_INLINE {
                    const float* const at = x.data + r * x.row_stride + from * x.depth_stride;
                    const Index count = std::clamp<Index>(depth - from, 0, 16);
                    if (x.depth_stride == 1) return count > 0 ? simd::load<float>(at, count, 0.F) : _mm512_setzero_ps();
                    alignas(64) float some[16] = {};
                    for (Index i = 0; i < count; ++i) some[i] = at[i * x.depth_stride];
                    return simd::load(some);
                };
                _mm512_store_si512(to + k / 2 * word, (__m512i)_mm512_cvtne2ps_pbh(part(k + 16), part(k)));
            }
        }
    }
    /// Keys are pairs as they stand.
    static bool pack_held_keys(RowOperand<float>& a, const RowBlock<Eigen::bfloat16>& rows) {
        if (rows.data == nullptr || rows.columns % 2 != 0) return false;
        a.packed = reinterpret_cast<const std::byte*>(rows.data);
        a.packed_row = rows.stride * Index(sizeof(Eigen::bfloat16));
        a.packed_step = word;
        return true;
    }
    static bool pack_held_values(RowOperand<float>& a, const RowBlock<Eigen::bfloat16>& rows, std::byte* to) {
        if (rows.data == nullptr) return false;
        a.packed = to;
        pairs_side_by_side(a, rows.columns);
        for (Index j = 0; j < rows.rows; j += 2, to += a.packed_step) {
            for (Index i = 0; i < rows.columns; i += 16) {
                const auto mask = static_cast<__mmask16>(0xffff >> (16 - std::min<Index>(16, rows.columns - i)));
                const auto load = [&](Index row) ATTEND_ALWAYS_INLINE {
                    return row < rows.rows ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, rows.row(row) + i))
                                           : _mm512_setzero_si512();
                };
                _mm512_store_si512(to + i * word, _mm512_or_si512(load(j), _mm512_slli_epi32(load(j + 1), 16)));
            }
        }
        return true;
    }
    void pack(LaneOperand<float>& b, Index depth, Index lanes, std::byte* to) const {
        b.packed = to;
        for (Index lane = 0; lane < lanes; lane += 16) {
            for (Index k = 0; k < depth; k += 2) {
                const auto row = [&](Index at) ATTEND_ALWAYS_INLINE {
                    return at < depth ? simd::load(b.data + at * lanes + lane) : _mm512_setzero_ps();
                };
                _mm512_store_si512(words_of(to, depth, lane, k), bfloat16_pairs(row(k), row(k + 1)));
            }
        }
    }
    void multiply_packed(const RowOperand<float>& a, Index rows, Index depth, const LaneOperand<float>& b, Index lanes,
                         float* c, ProductOptions<float> options) const {
        Index lane = 0;
        const auto take = [&](auto most, auto vectors) {
            constexpr Index count = vectors * 16;
            for (; lane + count <= lanes; lane += count) {
                multiply_rows_of_pairs<most, vectors>(a, 0, rows, pairs(depth),
                                                      reinterpret_cast<const int*>(b.packed) + lane * pairs(depth),
                                                      lanes, c + lane, options);
                if (options.factor != nullptr) options.factor += count;
                if (options.largest != nullptr) options.largest += count;
            }
        };
        take(std::integral_constant<int, 6>(), std::integral_constant<int, 4>());
        take(std::integral_constant<int, 6>(), std::integral_constant<int, 3>());
        take(std::integral_constant<int, 8>(), std::integral_constant<int, 2>());
        take(std::integral_constant<int, 8>(), std::integral_constant<int, 1>());
    }
    template <class Make>
    simd::Packet<float> pack_made(Index depth, Index lane, Make&& make, std::byte* to) const {
        auto sum = simd::broadcast(0.F);
        Index k = 0;
        for (; k + 2 <= depth; k += 2) {
            const auto a = make(k), b = make(k + 1);
            sum = simd::add(sum, simd::add(a, b));
            _mm512_store_si512(words_of(to, depth, lane, k), bfloat16_pairs(a, b));
        }
        if (k < depth) {
            const auto a = make(k);
            sum = simd::add(sum, a);
            _mm512_store_si512(words_of(to, depth, lane, k), bfloat16_pairs(a, _mm512_setzero_ps()));
        }
        return sum;
    }

private:
    static constexpr Index word = 4;

    static constexpr Index whole(Index words) { return (words + 15) / 16 * 16; }
    /// Words of a pair of columns follow each other.
    static void pairs_side_by_side(RowOperand<float>& a, Index rows) {
        a.packed_row = word;
        a.packed_step = whole(rows) * word;
    }
    static int* words_of(std::byte* to, Index depth, Index lane, Index k) {
        return reinterpret_cast<int*>(to) + lane * pairs(depth) + k / 2 * 16;
    }
};

#endif

}  // namespace attend::detail

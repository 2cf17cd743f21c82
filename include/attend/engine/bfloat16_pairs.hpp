#pragma once
/// \file
/// Products of bfloat16 by AVX512-BF16: an instruction multiplies pairs of them, twice as many numbers as floats, and
/// adds both products to a float.

#include <cstring>

#include <attend/engine/bfloat16_words.hpp>

// Not on GCC's and Clang's word alone: the rows around are Eigen's packets of AVX-512.
#if defined(__AVX512BF16__) && defined(EIGEN_VECTORIZE_AVX512) && !defined(ATTEND_GNU_PACKETS) && \
    !defined(ATTEND_NO_BF16)
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

/// VDPBF16PS: 16 lanes of pairs, and a pair of A for all of them.
struct PairInstruction {
    static constexpr Index neighbours = 2, rows_at_once = 1;
    using Packet = __m512;
    using Held = __m256i;

    ATTEND_ALWAYS_INLINE static Held load(const Eigen::bfloat16* from, Index count) {
        return _mm256_maskz_loadu_epi16(static_cast<__mmask16>(0xffff >> (16 - count)), from);
    }
    ATTEND_ALWAYS_INLINE static void narrow(Packet first, Packet second, std::byte* to) {
        _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(second, first));
    }
    ATTEND_ALWAYS_INLINE static void words(const Packet (&rows)[2], std::byte* to) {
        _mm512_store_si512(to, bfloat16_pairs(rows[0], rows[1]));
    }
    ATTEND_ALWAYS_INLINE static void words(const Held (&rows)[2], std::byte* to) {
        const auto wide = [](Held x) ATTEND_ALWAYS_INLINE { return _mm512_cvtepu16_epi32(x); };
        _mm512_store_si512(to, _mm512_or_si512(wide(rows[0]), _mm512_slli_epi32(wide(rows[1]), 16)));
    }
    template <int rows, int vectors>
    ATTEND_ALWAYS_INLINE static void product(const std::byte* a, Index a_row, Index a_step, Index words,
                                             const std::byte* b, Packet (&tile)[rows][vectors]) {
        constexpr Index packet = 64;
        repeat<rows * vectors>([&](auto i)
                                   ATTEND_ALWAYS_INLINE { tile[i / vectors][i % vectors] = _mm512_setzero_ps(); });
        const std::byte* row[rows];
        repeat<rows>([&](auto r) ATTEND_ALWAYS_INLINE { row[r] = a + r * a_row; });
        const Index group = words * packet;
        for (Index k = 0; k < words; ++k, b += packet) {
            __m512i b_k[vectors];
            repeat<vectors>([&](auto v)
                                ATTEND_ALWAYS_INLINE { b_k[v] = simd::in_register(_mm512_load_si512(b + v * group)); });
            repeat<rows>([&](auto r) ATTEND_ALWAYS_INLINE {
                const auto x = broadcast_pair(row[r] + k * a_step);
                repeat<vectors>([&](auto v) ATTEND_ALWAYS_INLINE {
                    tile[r][v] = _mm512_dpbf16_ps(tile[r][v], (__m512bh)x, (__m512bh)b_k[v]);
                });
            });
        }
    }

    template <class Take>
    static void for_each_tile(Take&& take) {
        take(std::integral_constant<int, 6>(), std::integral_constant<int, 4>());
        take(std::integral_constant<int, 6>(), std::integral_constant<int, 3>());
        take(std::integral_constant<int, 8>(), std::integral_constant<int, 2>());
        take(std::integral_constant<int, 8>(), std::integral_constant<int, 1>());
    }
    static constexpr int lower(int rows) { return rows > 4 ? 4 : 1; }
    static constexpr bool is_better_split(int most, Index rows) { return most == 6 && (rows == 8 || rows == 9); }
};

/// The engine that multiplies so.
struct BFloat16Pairs : BFloat16Words<PairInstruction> {
    /// Keys are pairs as they stand.
    static bool pack_held_keys(RowOperand<float>& a, const RowBlock<Eigen::bfloat16>& k, std::byte*) {
        if (k.data == nullptr || k.columns % 2 != 0) return false;
        a.packed = reinterpret_cast<const std::byte*>(k.data);
        a.packed_row = k.stride * Index(sizeof(Eigen::bfloat16));
        a.packed_step = word;
        return true;
    }
};

#endif

}  // namespace attend::detail

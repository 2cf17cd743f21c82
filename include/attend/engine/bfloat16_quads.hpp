#pragma once
/// \file
/// Products of bfloat16 by AArch64's BFMMLA: an instruction multiplies two rows of four numbers by two lanes of four,
/// four times as many as floats, and adds the 2 × 2 sums to as many floats. It rounds a sum to odd in between: to one
/// of the two floats nearest to it.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <attend/engine/bfloat16_words.hpp>

#if defined(__aarch64__) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) && defined(EIGEN_VECTORIZE_NEON) && \
    !defined(__ARM_BIG_ENDIAN) && !defined(ATTEND_GNU_PACKETS) && !defined(ATTEND_NO_BF16)
#define ATTEND_ARM_BF16 1
#include <arm_neon.h>
#endif

namespace attend::inline ATTEND_ABI::detail {

#if defined(ATTEND_ARM_BF16)

/// BFMMLA: two rows of A, two lanes of B.
struct QuadInstruction {
    static constexpr Index neighbours = 4, rows_at_once = 2;
    using Packet = float32x4_t;
    using Held = uint16x4_t;

    ATTEND_ALWAYS_INLINE static Held load(const Eigen::bfloat16* from, Index count) {
        std::uint64_t four = 0;
        if (count == 4) {
            std::memcpy(&four, from, sizeof four);
        } else {
            std::memcpy(&four, from, static_cast<std::size_t>(count) * sizeof *from);
        }
        return vcreate_u16(four);
    }
    ATTEND_ALWAYS_INLINE static bfloat16x8_t narrow(Packet first, Packet second) {
        return vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(first), second);
    }
    ATTEND_ALWAYS_INLINE static void narrow(Packet first, Packet second, std::byte* to) {
        store(vreinterpretq_u16_bf16(narrow(first, second)), to);
    }
    ATTEND_ALWAYS_INLINE static void words(const Packet (&rows)[4], std::byte* to) {
        words(vreinterpretq_u16_bf16(narrow(rows[0], rows[1])), vreinterpretq_u16_bf16(narrow(rows[2], rows[3])), to);
    }
    ATTEND_ALWAYS_INLINE static void words(const Held (&rows)[4], std::byte* to) {
        words(vcombine_u16(rows[0], rows[1]), vcombine_u16(rows[2], rows[3]), to);
    }
    template <int rows, int vectors>
    ATTEND_ALWAYS_INLINE static void product(const std::byte* a, Index a_row, Index a_step, Index words,
                                             const std::byte* b, Packet (&tile)[rows][vectors]) {
        constexpr int pairs = (rows + 1) / 2, blocks = 2 * vectors;
        constexpr Index block = 16, packet = 2 * block;
        float32x4_t sum[pairs][blocks];  // of rows 2p and 2p + 1 with lanes 2j and 2j + 1
        repeat<pairs * blocks>([&](auto i) ATTEND_ALWAYS_INLINE { sum[i / blocks][i % blocks] = vdupq_n_f32(0); });
        const std::byte* row[pairs];
        repeat<pairs>([&](auto p) ATTEND_ALWAYS_INLINE { row[p] = a + p * a_row; });
        const Index group = words * packet;
        for (Index k = 0; k < words; ++k, b += packet) {
            bfloat16x8_t b_k[blocks];
            repeat<blocks>([&](auto j)
                               ATTEND_ALWAYS_INLINE { b_k[j] = load_block(b + j / 2 * group + j % 2 * block); });
            repeat<pairs>([&](auto p) ATTEND_ALWAYS_INLINE {
                const std::byte* at = row[p] + k * a_step;
                // GCC would load all rows first, and have no registers left for the sums.
                if constexpr (p > 0)
                    asm(""
                        : "+r"(at)
                        : "w"(sum[p - 1][0]), "w"(sum[p - 1][1]), "w"(sum[p - 1][blocks - 2]),
                          "w"(sum[p - 1][blocks - 1]));
                const auto x = load_block(at);
                repeat<blocks>([&](auto j) ATTEND_ALWAYS_INLINE { sum[p][j] = vbfmmlaq_f32(sum[p][j], x, b_k[j]); });
            });
        }
        repeat<rows * vectors>([&](auto i) ATTEND_ALWAYS_INLINE {
            constexpr int r = i / vectors, v = i % vectors;
            const auto first = vreinterpretq_f64_f32(sum[r / 2][2 * v]),
                       second = vreinterpretq_f64_f32(sum[r / 2][2 * v + 1]);
            tile[r][v] = vreinterpretq_f32_f64(r % 2 == 0 ? vzip1q_f64(first, second) : vzip2q_f64(first, second));
        });
    }

    /// As many sums as registers hold: each waits for the one before it.
    template <class Take>
    static void for_each_tile(Take&& take) {
        take(std::integral_constant<int, 12>(), std::integral_constant<int, 2>());
        take(std::integral_constant<int, 12>(), std::integral_constant<int, 1>());
    }
    static constexpr int lower(int rows) { return rows > 8 ? 8 : rows / 2; }
    static constexpr bool is_better_split(int most, Index rows) { return most == 12 && rows > 12 && rows <= 16; }

private:
    ATTEND_ALWAYS_INLINE static bfloat16x8_t load_block(const std::byte* from) {
        return vreinterpretq_bf16_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(from)));
    }
    ATTEND_ALWAYS_INLINE static void store(uint16x8_t x, std::byte* to) {
        vst1q_u8(reinterpret_cast<std::uint8_t*>(to), vreinterpretq_u8_u16(x));
    }
    /// Rows 0 and 1, and rows 2 and 3, side by side, into columns.
    ATTEND_ALWAYS_INLINE static void words(uint16x8_t first, uint16x8_t second, std::byte* to) {
        const auto even = vzip1q_u16(first, second), odd = vzip2q_u16(first, second);
        store(vzip1q_u16(even, odd), to), store(vzip2q_u16(even, odd), to + 16);
    }
};

/// The engine that multiplies so.
struct BFloat16Quads : BFloat16Words<QuadInstruction> {
    /// Two rows' words side by side: they are read once for each eight queries.
    static bool pack_held_keys(RowOperand<float>& a, const RowBlock<Eigen::bfloat16>& k, std::byte* to) {
        if (k.data == nullptr) return false;
        row_after_row(a, k.columns, to);
        for (Index r = 0; r < k.rows; r += 2, to += a.packed_row) {
            for (Index i = 0; i < k.columns; i += 4) {
                const Index count = std::min<Index>(4, k.columns - i);
                const auto first = QuadInstruction::load(k.row(r) + i, count);
                const auto second = r + 1 < k.rows ? QuadInstruction::load(k.row(r + 1) + i, count) : vdup_n_u16(0);
                vst1q_u8(reinterpret_cast<std::uint8_t*>(to + i / 4 * a.packed_step),
                         vreinterpretq_u8_u16(vcombine_u16(first, second)));
            }
        }
        return true;
    }
};

#endif

}  // namespace attend::detail

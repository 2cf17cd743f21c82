#pragma once
/// \file
/// Products of operands that are bfloat16, or rounded to it, by instructions that multiply a few neighbours along the
/// depth at once and add their products to a float: what is the same whichever instruction that is.
///
/// Packed, an operand is *words* of so many neighbours along the depth: A word after word of a row, or of as many rows
/// as the instruction takes at once, B a packet of lanes for each word. What is behind the last row or the depth is 0.
/// Denormal numbers count as 0.

#include <algorithm>
#include <type_traits>

#include <attend/engine/packets.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// `rows` rows of C, `vectors` packets wide.
template <class Instruction, int rows, int vectors>
ATTEND_NOINLINE void multiply_words(const RowOperand<float>& a, Index first, Index words, const std::byte* b,
                                    Index lanes, float* c, const ProductOptions<float>& options) {
    simd::Packet<float> tile[rows][vectors];
    Instruction::product(a.packed + first / Instruction::rows_at_once * a.packed_row, a.packed_row, a.packed_step,
                         words, b, tile);
    if (options.scale != 1) {
        const auto scale = simd::broadcast(options.scale);
        repeat<rows * vectors>([&](auto i) ATTEND_ALWAYS_INLINE {
            auto& x = tile[i / vectors][i % vectors];
            x = simd::mul(x, scale);
        });
    }
    finish_tile(tile, c, lanes, options, [](auto) {});
}

/// `rows` rows of C by tiles of `most` rows, the rest by ever lower ones.
template <class Instruction, int most, int vectors>
void multiply_rows_of_words(const RowOperand<float>& a, Index first, Index rows, Index words, const std::byte* b,
                            Index lanes, float* c, const ProductOptions<float>& options) {
    for (; rows >= most && !Instruction::is_better_split(most, rows); rows -= most) {
        multiply_words<Instruction, most, vectors>(a, first, words, b, lanes, c, options);
        if (options.ahead != nullptr) options.ahead->some(lines_of_tile);
        first += most;
        c += most * lanes;
    }
    if constexpr (most > 1) {
        if (rows > 0)
            multiply_rows_of_words<Instruction, Instruction::lower(most), vectors>(a, first, rows, words, b, lanes, c,
                                                                                   options);
    }
}

/// Products of what is bfloat16 already, or rounded to it, by an `Instruction`, which is
///
///     static constexpr Index neighbours;        // in a word
///     static constexpr Index rows_at_once;      // 1 or 2: rows of A whose words stand side by side
///     using Held;                               // a packet's numbers as bfloat16
///     static Held load(const Eigen::bfloat16* from, Index count);               // the others are 0
///     static void narrow(Packet first, Packet second, std::byte* to);           // one after the other
///     static void words(const Packet (&rows)[neighbours], std::byte* to);       // a packet of words
///     static void words(const Held (&rows)[neighbours], std::byte* to);
///     static void product(const std::byte* a, Index a_row, Index a_step, Index words, const std::byte* b,
///                         Packet (&tile)[rows][vectors]);                       // of any such tile
///     static void for_each_tile(auto&& take);   // the tiles of C, the widest first: take(rows, packets)
///     static constexpr int lower(int rows);     // of the tile for rows that are left
///     static constexpr bool is_better_split(int most, Index rows);
template <class Instruction>
struct BFloat16Words {
    using Packet = simd::Packet<float>;
    static constexpr Index w = simd::width<float>;
    static constexpr Index word = Instruction::neighbours * Index(sizeof(Eigen::bfloat16));  ///< in bytes

    /// Packed operands are rounded, so that a factor of the queries which would not keep their bits is better applied
    /// to the product.
    static constexpr bool rounds = true;
    static constexpr Index least_keys = 1;

    struct Session {
        explicit Session(bool) {}
    };

    static constexpr bool packs(Index width, Index d_v) { return std::min(width, d_v) >= 16; }
    static constexpr Index packed_bytes(Index lines, Index depth) { return whole(lines) * whole(words(depth)) * word; }

    /// A whose rows are columns in memory, as those of values that are weighted, is packed a word of columns at a time.
    void pack(RowOperand<float>& a, Index rows, Index depth, std::byte* to) const {
        const StridedMatrix<float>& x = a.matrix;
        if (x.row_stride == 1 && x.depth_stride != 1) {
            return side_by_side<Packet>(a, rows, depth, to, [&](Index k, Index r) ATTEND_ALWAYS_INLINE {
                return simd::load<float>(x.data + k * x.depth_stride + r, std::min(w, rows - r), 0.F);
            });
        }
        row_after_row(a, depth, to);
        for (Index r = 0; r < rows; r += Instruction::rows_at_once, to += a.packed_row) {
            const auto part = [&](Index row, Index k) ATTEND_ALWAYS_INLINE {
                const float* const at = x.data + row * x.row_stride + k * x.depth_stride;
                const Index count = row < rows ? std::clamp<Index>(depth - k, 0, w) : 0;
                if (x.depth_stride == 1) return count > 0 ? simd::load<float>(at, count, 0.F) : simd::broadcast(0.F);
                float some[w] = {};
                for (Index i = 0; i < count; ++i) some[i] = at[i * x.depth_stride];
                return simd::load(some);
            };
            for (Index k = 0; k < depth; k += 2 * w / Instruction::rows_at_once) {
                const Packet second = Instruction::rows_at_once == 1 ? part(r, k + w) : part(r + 1, k);
                Instruction::narrow(part(r, k), second, to + k / Instruction::neighbours * a.packed_step);
            }
        }
    }
    static bool pack_held_values(RowOperand<float>& a, const RowBlock<Eigen::bfloat16>& v, std::byte* to) {
        if (v.data == nullptr) return false;
        side_by_side<typename Instruction::Held>(a, v.columns, v.rows, to, [&](Index k, Index r) ATTEND_ALWAYS_INLINE {
            return Instruction::load(v.row(k) + r, std::min(w, v.columns - r));
        });
        return true;
    }
    void pack(LaneOperand<float>& b, Index depth, Index lanes, std::byte* to) const {
        b.packed = to;
        for (Index lane = 0; lane < lanes; lane += w) {
            for (Index k = 0; k < depth; k += Instruction::neighbours) {
                Packet rows[Instruction::neighbours];
                repeat<Instruction::neighbours>([&](auto i) ATTEND_ALWAYS_INLINE {
                    rows[i] = k + i < depth ? simd::load(b.data + (k + i) * lanes + lane) : simd::broadcast(0.F);
                });
                Instruction::words(rows, words_of(to, depth, lane, k));
            }
        }
    }
    void multiply_packed(const RowOperand<float>& a, Index rows, Index depth, const LaneOperand<float>& b, Index lanes,
                         float* c, ProductOptions<float> options) const {
        Index lane = 0;
        Instruction::for_each_tile([&](auto most, auto vectors) {
            constexpr Index count = vectors * w;
            for (; lane + count <= lanes; lane += count) {
                multiply_rows_of_words<Instruction, most, vectors>(
                    a, 0, rows, words(depth), b.packed + lane * words(depth) * word, lanes, c + lane, options);
                if (options.factor != nullptr) options.factor += count;
                if (options.largest != nullptr) options.largest += count;
            }
        });
    }
    template <class Make>
    Packet pack_made(Index depth, Index lane, Make&& make, std::byte* to) const {
        auto sum = simd::broadcast(0.F);
        const auto pack_word = [&](Index k, auto has) ATTEND_ALWAYS_INLINE {
            Packet rows[Instruction::neighbours];
            auto of_word = rows[0] = make(k);
            repeat<Instruction::neighbours - 1>([&](auto i) ATTEND_ALWAYS_INLINE {
                rows[i + 1] = has(k + i + 1) ? make(k + i + 1) : simd::broadcast(0.F);
                of_word = simd::add(of_word, rows[i + 1]);
            });
            sum = simd::add(sum, of_word);
            Instruction::words(rows, words_of(to, depth, lane, k));
        };
        Index k = 0;
        for (; k + Instruction::neighbours <= depth; k += Instruction::neighbours)
            pack_word(k, [](Index) { return true; });
        if (k < depth) pack_word(k, [&](Index at) { return at < depth; });
        return sum;
    }

protected:
    static constexpr Index words(Index depth) {
        return (depth + Instruction::neighbours - 1) / Instruction::neighbours;
    }
    static constexpr Index whole(Index count) { return (count + w - 1) / w * w; }
    static void row_after_row(RowOperand<float>& a, Index depth, std::byte* to) {
        a.packed = to;
        a.packed_step = Instruction::rows_at_once * word;
        a.packed_row = whole(words(depth)) * a.packed_step;
    }
    /// The words of all rows of A follow each other; `load(k, row)` gives a packet of rows, in either form.
    template <class P, class Load>
    static void side_by_side(RowOperand<float>& a, Index rows, Index depth, std::byte* to, const Load& load) {
        a.packed = to;
        a.packed_row = Instruction::rows_at_once * word;
        a.packed_step = whole(rows) * word;
        for (Index k = 0; k < depth; k += Instruction::neighbours, to += a.packed_step) {
            for (Index r = 0; r < rows; r += w) {
                P columns[Instruction::neighbours] = {};
                repeat<Instruction::neighbours>([&](auto i) ATTEND_ALWAYS_INLINE {
                    if (k + i < depth) columns[i] = load(k + i, r);
                });
                Instruction::words(columns, to + r * word);
            }
        }
    }
    static std::byte* words_of(std::byte* to, Index depth, Index lane, Index k) {
        return to + (lane * words(depth) + k / Instruction::neighbours * w) * word;
    }
};

}  // namespace attend::detail

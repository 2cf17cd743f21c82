#pragma once
/// \file
/// Products of operands that are bfloat16, or rounded to it, by AMX: a tile holds 32 numbers of each of 16 rows of A,
/// or of 16 lanes of B as words of two neighbours along the depth, and an instruction multiplies 16 × 16 × 32.
///
/// Keys whose tiles are whole are such tiles as they stand. What else is packed is filled up with 0. Denormal numbers
/// count as 0.

#include <algorithm>

#include <attend/engine/amx_tiles.hpp>
#include <attend/engine/bfloat16_pairs.hpp>

namespace attend::inline ATTEND_ABI::detail {

#if defined(ATTEND_AMX) && defined(ATTEND_AVX512_BF16)

/// Products of what is bfloat16 already, or rounded to it, by tiles; where the system refuses them, by pairs.
struct BFloat16Tiles : BFloat16Pairs {
    struct Session : amx::Tiles {
        explicit Session(bool packs) : Tiles(packs && amx::available()) {}
    };

    void pack(RowOperand<float>& a, Index rows, Index depth, std::byte* to) const {
        if (!amx::available()) return BFloat16Pairs::pack(a, rows, depth, to);
        const StridedMatrix<float>& x = a.matrix;
        if (x.row_stride == 1 && x.depth_stride != 1) {
            const auto load = [&](Index k, Index r) ATTEND_ALWAYS_INLINE {
                if (k >= depth) return _mm512_setzero_ps();
                return simd::load<float>(x.data + k * x.depth_stride + r, std::min(size, rows - r), 0.F);
            };
            return pack_columns(a, rows, depth, to, [&](Index k, Index r) ATTEND_ALWAYS_INLINE {
                return bfloat16_pairs(load(k, r), load(k + 1, r));
            });
        }
        const auto part = [&](Index r, Index k) ATTEND_ALWAYS_INLINE {
            const float* const at = x.data + r * x.row_stride + k * x.depth_stride;
            const Index count = std::clamp<Index>(depth - k, 0, size);
            if (x.depth_stride == 1) return count > 0 ? simd::load<float>(at, count, 0.F) : _mm512_setzero_ps();
            alignas(64) float some[size] = {};
            for (Index i = 0; i < count; ++i) some[i] = at[i * x.depth_stride];
            return simd::load(some);
        };
        pack_rows(a, rows, depth, to, [&](Index r, Index k) ATTEND_ALWAYS_INLINE {
            return (__m512i)_mm512_cvtne2ps_pbh(part(r, k + size), part(r, k));
        });
    }
    static bool pack_held_keys(RowOperand<float>& a, const RowBlock<Eigen::bfloat16>& k, std::byte* to) {
        if (!amx::available()) return BFloat16Pairs::pack_held_keys(a, k, to);
        if (k.data == nullptr) return false;
        if (k.rows % size == 0 && k.columns % amx::tile_depth == 0) {
            a.packed = reinterpret_cast<const std::byte*>(k.data);
            a.packed_row = k.stride * Index(sizeof(Eigen::bfloat16));
            a.packed_step = amx::row_bytes;
            return true;
        }
        pack_rows(a, k.rows, k.columns, to, [&](Index r, Index from) ATTEND_ALWAYS_INLINE {
            const Index count = std::min(amx::tile_depth, k.columns - from);
            return _mm512_maskz_loadu_epi16(static_cast<__mmask32>(0xffffffff >> (32 - count)), k.row(r) + from);
        });
        return true;
    }
    static bool pack_held_values(RowOperand<float>& a, const RowBlock<Eigen::bfloat16>& v, std::byte* to) {
        if (!amx::available()) return BFloat16Pairs::pack_held_values(a, v, to);
        if (v.data == nullptr) return false;
        pack_columns(a, v.columns, v.rows, to, [&](Index j, Index r) ATTEND_ALWAYS_INLINE {
            const auto some = static_cast<__mmask16>(0xffff >> (size - std::min(size, v.columns - r)));
            const auto load = [&](Index row) ATTEND_ALWAYS_INLINE {
                return row < v.rows ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, v.row(row) + r))
                                    : _mm512_setzero_si512();
            };
            return _mm512_or_si512(load(j), _mm512_slli_epi32(load(j + 1), 16));
        });
        return true;
    }
    void pack(LaneOperand<float>& b, Index depth, Index lanes, std::byte* to) const {
        if (!amx::available()) return BFloat16Pairs::pack(b, depth, lanes, to);
        b.packed = to;
        for (Index lane = 0; lane < lanes; lane += size) {
            pack_made(
                depth, lane, [&](Index k) ATTEND_ALWAYS_INLINE { return simd::load(b.data + k * lanes + lane); }, to);
        }
    }
    template <class Make>
    simd::Packet<float> pack_made(Index depth, Index lane, Make&& make, std::byte* to) const {
        if (!amx::available()) return BFloat16Pairs::pack_made(depth, lane, make, to);
        const Index whole = steps(depth) * amx::tile_depth;
        to += lane / size * steps(depth) * amx::tile_bytes;
        const auto row = [&](Index k) ATTEND_ALWAYS_INLINE { return k < depth ? make(k) : _mm512_setzero_ps(); };
        auto sum = simd::broadcast(0.F);
        for (Index k = 0; k < whole; k += 2, to += amx::row_bytes) {
            const auto a = row(k), b = row(k + 1);
            sum = simd::add(sum, simd::add(a, b));
            _mm512_store_si512(to, bfloat16_pairs(a, b));
        }
        return sum;
    }
    void multiply_packed(const RowOperand<float>& a, Index rows, Index depth, const LaneOperand<float>& b, Index lanes,
                         float* c, const ProductOptions<float>& options) const {
        if (!amx::available()) return BFloat16Pairs::multiply_packed(a, rows, depth, b, lanes, c, options);
        const Index packed_lines = steps(depth) * amx::tile_bytes;
        const bool is_packed = a.packed_step == amx::tile_bytes;
        const TiledOperand x{a.packed, is_packed ? packed_lines : size * a.packed_row, a.packed_step, a.packed_row};
        multiply_by_tiles<1>(x, rows, steps(depth), {b.packed, packed_lines, amx::tile_bytes}, lanes, c, options);
    }

private:
    static constexpr Index size = amx::tile_rows;

    static constexpr Index steps(Index depth) { return tiles(depth, amx::tile_depth); }
    static void become_tiles(RowOperand<float>& a, std::byte* to) {
        a.packed = to;
        a.packed_row = amx::row_bytes;
        a.packed_step = amx::tile_bytes;
    }
    /// Of rows: `row(r, k)` gives 32 numbers of row r from k on.
    template <class Row>
    static void pack_rows(RowOperand<float>& a, Index rows, Index depth, std::byte* to, const Row& row) {
        become_tiles(a, to);
        for (Index r = 0; r < tiles(rows, size) * size; ++r) {
            std::byte* at = to + r / size * steps(depth) * amx::tile_bytes + r % size * amx::row_bytes;
            for (Index k = 0; k < depth; k += amx::tile_depth, at += amx::tile_bytes)
                _mm512_store_si512(at, r < rows ? row(r, k) : _mm512_setzero_si512());
        }
    }
    /// Of rows that follow each other in memory: `pairs(k, r)` gives words of 16 rows from r on, of k and k + 1.
    template <class Pairs>
    static void pack_columns(RowOperand<float>& a, Index rows, Index depth, std::byte* to, const Pairs& pairs) {
        become_tiles(a, to);
        for (Index r = 0; r < rows; r += size) {
            for (Index step = 0; step < steps(depth); ++step) {
                simd::Packet<float> words[size];
                for (Index i = 0; i < size; ++i, to += amx::row_bytes) {
                    const Index k = step * amx::tile_depth + 2 * i;
                    words[i] = k < depth ? _mm512_castsi512_ps(pairs(k, r)) : _mm512_setzero_ps();
                }
                simd::transpose<float>(words);
                for (Index i = 0; i < size; ++i) _mm512_store_ps(to - amx::tile_bytes + i * amx::row_bytes, words[i]);
            }
        }
    }
};

#endif

}  // namespace attend::detail

#pragma once
// Tiles of Intel's AMX in software, which core/amx.hpp includes in builds with ATTEND_AMX_IN_SOFTWARE: whoever uses
// them there runs on any processor with AVX-512. What the processor refuses (#UD, #GP) ends the program, in words.
//
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, LDTILECFG, TILELOADD, TILESTORED,
// TILEZERO, TILERELEASE and TDPBF16PS with their exception classes. TDPBF16PS adds up the even products of a row and a
// column and the odd ones, each sum from 0 by fused multiply-adds, then both, then what stood there; all of it rounded
// to the nearest even, denormal operands taken for 0 and denormal results replaced by it, whatever the thread has set.

#include <immintrin.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace attend::test::amx_tiles {

// The system may refuse its leave to use tiles; tests of that say so here.
inline bool& leave_is_given() {
    static bool given = true;
    return given;
}

// What to do at what the processor refuses. Tests of that throw.
inline void (*on_fault)(const char* what) = [](const char* what) {
    std::fprintf(stderr, "AMX in software: %s\n", what);
    std::abort();
};

struct Tile {
    unsigned char rows[16][64];
};

// sum += A · B, of so many rows, pairs and columns. Not inlined, so that it stays where the mode is set.
[[gnu::noinline]] inline void multiply_tiles(Tile& sum, const Tile& a, const Tile& b, int rows, int pairs,
                                             __mmask16 columns) {
    const __m512i upper_half = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    const auto lower = [](__m512i words) { return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16)); };
    const auto upper = [&](__m512i words) { return _mm512_castsi512_ps(_mm512_and_si512(words, upper_half)); };
    for (int m = 0; m < rows; ++m) {
        __m512 even = _mm512_setzero_ps(), odd = even;
        for (int k = 0; k < pairs; ++k) {
            int word;
            std::memcpy(&word, a.rows[m] + 4 * k, sizeof word);
            const __m512i x = _mm512_set1_epi32(word), y = _mm512_loadu_si512(b.rows[k]);
            even = _mm512_fmadd_ps(lower(x), lower(y), even);
            odd = _mm512_fmadd_ps(upper(x), upper(y), odd);
        }
        const __m512 result = _mm512_add_ps(_mm512_loadu_ps(sum.rows[m]), _mm512_add_ps(even, odd));
        _mm512_storeu_ps(sum.rows[m], _mm512_maskz_mov_ps(columns, result));
    }
}

// The tiles of a thread, and how often it used them.
class Bank {
public:
    long loads = 0, stores = 0, products = 0;

    void configure(const void* from) {
        Layout next;
        std::memcpy(&next, from, sizeof next);
        release();
        if (next.palette == 0) return;
        if (next.palette != 1) return on_fault("LDTILECFG: no such palette");
        for (const unsigned char byte : next.reserved)
            if (byte != 0) return on_fault("LDTILECFG: a reserved byte is not 0");
        for (int i = 0; i < 16; ++i) {
            const int size = next.bytes_of_row[i], count = next.rows[i];
            if (i >= 8 && (size != 0 || count != 0)) return on_fault("LDTILECFG: there are 8 tiles");
            if (size > 64 || count > 16) return on_fault("LDTILECFG: a tile has 16 rows of 64 bytes at most");
            if ((size == 0) != (count == 0)) return on_fault("LDTILECFG: a tile has rows or bytes alone");
        }
        if (next.start_row != 0) return on_fault("LDTILECFG: a start in the middle of a tile is not made in software");
        layout_ = next;
    }
    void release() {
        layout_ = Layout();
        std::memset(tiles_, 0, sizeof tiles_);
    }
    void zero(int tile) {
        if (is_there(tile)) std::memset(&tiles_[tile], 0, sizeof(Tile));
    }
    void load(int tile, const void* from, std::ptrdiff_t stride) {
        if (!is_there(tile)) return;
        ++loads;
        zero(tile);
        for (int r = 0; r < layout_.rows[tile]; ++r)
            std::memcpy(tiles_[tile].rows[r], static_cast<const char*>(from) + r * stride, layout_.bytes_of_row[tile]);
    }
    void store(int tile, void* to, std::ptrdiff_t stride) {
        if (!is_there(tile)) return;
        ++stores;
        for (int r = 0; r < layout_.rows[tile]; ++r)
            std::memcpy(static_cast<char*>(to) + r * stride, tiles_[tile].rows[r], layout_.bytes_of_row[tile]);
    }
    void multiply(int sum, int a, int b) {
        if (!is_there(sum) || !is_there(a) || !is_there(b)) return;
        if (sum == a || sum == b || a == b) return on_fault("TDPBF16PS: a tile is given twice");
        const int rows = layout_.rows[sum], size = layout_.bytes_of_row[sum], pairs = layout_.rows[b];
        if (rows != layout_.rows[a] || size != layout_.bytes_of_row[b] || layout_.bytes_of_row[a] != 4 * pairs)
            return on_fault("TDPBF16PS: the tiles do not fit each other");
        ++products;
        constexpr unsigned nearest_flushing_silent = 0x9fc0;
        const unsigned mode = _mm_getcsr();
        _mm_setcsr(nearest_flushing_silent);
        multiply_tiles(tiles_[sum], tiles_[a], tiles_[b], rows, pairs,
                       static_cast<__mmask16>(0xffff >> (16 - size / 4)));
        _mm_setcsr(mode);
        for (int r = rows; r < 16; ++r) std::memset(tiles_[sum].rows[r], 0, 64);
    }

private:
    // As LDTILECFG reads it.
    struct Layout {
        unsigned char palette = 0, start_row = 0, reserved[14] = {};
        unsigned short bytes_of_row[16] = {};
        unsigned char rows[16] = {};
    };
    static_assert(sizeof(Layout) == 64);

    bool is_there(int tile) const {
        if (layout_.palette == 0) return on_fault("no tiles are configured"), false;
        if (tile < 0 || tile >= 8) return on_fault("there are 8 tiles"), false;
        if (layout_.rows[tile] == 0) return on_fault("this tile is not configured"), false;
        if (layout_.bytes_of_row[tile] % 4 != 0) return on_fault("a row is not of whole words"), false;
        return true;
    }

    Layout layout_;
    Tile tiles_[8] = {};
};

inline Bank& bank() {
    thread_local Bank of_thread;
    return of_thread;
}

}  // namespace attend::test::amx_tiles

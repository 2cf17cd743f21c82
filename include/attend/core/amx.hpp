#pragma once
/// \file
/// Intel's AMX: registers that hold a matrix of 16 rows of 64 bytes, and an instruction that multiplies two of them.
/// The only header that names its instructions.
///
/// It takes a build for such a processor (`-march=native` there), Linux, whose leave it takes to use the registers, and
/// Eigen's packets of AVX-512. `ATTEND_NO_AMX` switches it off. `ATTEND_AMX_IN_SOFTWARE` puts functions in the place of
/// the instructions, for tests on other processors with AVX-512.

#include <cstddef>

#include <attend/core/types.hpp>

#if defined(EIGEN_VECTORIZE_AVX512) && !defined(ATTEND_GNU_PACKETS) && !defined(ATTEND_NO_AMX)
#if defined(ATTEND_AMX_IN_SOFTWARE)
#define ATTEND_AMX 1
#include <support/amx_in_software.hpp>
// Clang 14 spells the macros without the second underscore.
#elif (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__linux__)
#define ATTEND_AMX 1
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace attend::inline ATTEND_ABI::detail::amx {

/// Rows of a tile, and its columns of float.
inline constexpr Index tile_rows = 16;
/// Products that one instruction adds up: 16 pairs of 16-bit numbers.
inline constexpr Index tile_depth = 32;
/// Bytes of a tile, and of one of its rows.
inline constexpr Index tile_bytes = 1024, row_bytes = 64;

#if defined(ATTEND_AMX)
/// How many rows and bytes of a row each tile has, as the instruction reads it.
struct alignas(64) Layout {
    unsigned char palette = 1, start_row = 0, reserved[14] = {};
    unsigned short bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

#if defined(ATTEND_AMX_IN_SOFTWARE)
inline bool available() { return test::amx_tiles::leave_is_given(); }
inline void configure(const Layout& layout) { test::amx_tiles::bank().configure(&layout); }
inline void release() { test::amx_tiles::bank().release(); }
template <int tile>
void zero() {
    test::amx_tiles::bank().zero(tile);
}
template <int tile>
void load(const void* from, Index stride) {
    test::amx_tiles::bank().load(tile, from, stride);
}
template <int tile>
void store(void* to, Index stride) {
    test::amx_tiles::bank().store(tile, to, stride);
}
template <int sum, int a, int b>
void multiply() {
    test::amx_tiles::bank().multiply(sum, a, b);
}
#else
/// Whether this processor and system let the process use tiles. The first call asks the system.
inline bool available() {
    constexpr int request_permission = 0x1023, tile_data = 18;
    static const bool granted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    return granted;
}
/// All tiles become those of `layout`, and 0.
inline void configure(const Layout& layout) { asm volatile("ldtilecfg %0" : : "m"(layout)); }
inline void release() { asm volatile("tilerelease"); }

template <int tile>
ATTEND_ALWAYS_INLINE inline void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(tile));
}
/// Rows of 64 bytes, `stride` bytes from each other.
template <int tile>
ATTEND_ALWAYS_INLINE inline void load(const void* from, Index stride) {
    asm volatile("{tileloadd (%0,%1,1), %%tmm%c2|tileloadd %%tmm%c2, [%0+%1*1]}"
                 :
                 : "r"(from), "r"(stride), "i"(tile)
                 : "memory");
}
template <int tile>
ATTEND_ALWAYS_INLINE inline void store(void* to, Index stride) {
    asm volatile("{tilestored %%tmm%c2, (%0,%1,1)|tilestored [%0+%1*1], %%tmm%c2}"
                 :
                 : "r"(to), "r"(stride), "i"(tile)
                 : "memory");
}
/// sum += A · B: A is 16 rows of 32 numbers of bfloat16, B 16 rows of 16 pairs of them, of which row i holds rows 2i
/// and 2i + 1 of what is multiplied.
template <int sum, int a, int b>
ATTEND_ALWAYS_INLINE inline void multiply() {
    asm volatile("{tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0|tdpbf16ps %%tmm%c0, %%tmm%c1, %%tmm%c2}"
                 :
                 : "i"(sum), "i"(a), "i"(b));
}
#endif
#else
inline constexpr bool available() { return false; }
#endif

/// Full tiles are at the thread's disposal as long as this lives; what it held in tiles before is lost. A call inside
/// another one's, in a user's formula, leaves the tiles to the outer one.
class Tiles {
public:
    explicit Tiles([[maybe_unused]] bool wanted) {
#if defined(ATTEND_AMX)
        wanted_ = wanted;
        if (!wanted || users()++ > 0) return;
        configure(Layout());
#endif
    }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;
    ~Tiles() {
#if defined(ATTEND_AMX)
        if (wanted_ && --users() == 0) release();
#endif
    }

#if defined(ATTEND_AMX)
private:
    static int& users() {
        thread_local int count = 0;
        return count;
    }

    bool wanted_ = false;
#endif
};

}  // namespace attend::detail::amx

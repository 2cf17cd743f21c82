#pragma once
/// \file
/// Intel's AMX: registers that hold a matrix of 16 rows of 64 bytes, and an instruction that multiplies two of them.
/// The only header that names its instructions.
///
/// It takes a build for such a processor (`-march=native` there), Linux, whose leave it takes to use the registers, and
/// Eigen's packets of AVX-512. `ATTEND_NO_AMX` switches it off.

#include <cstddef>

#include <attend/core/types.hpp>

// Clang 14 spells the macros without the second underscore.
#if (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__linux__) && defined(EIGEN_VECTORIZE_AVX512) && \
    !defined(ATTEND_GNU_PACKETS) && !defined(ATTEND_NO_AMX)
#define ATTEND_AMX 1
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace attend::inline ATTEND_ABI::detail::amx {

/// Rows of a tile, and its columns of float.
inline constexpr Index tile_rows = 16;
/// Products that one instruction adds up: 16 pairs of 16-bit numbers.
inline constexpr Index tile_depth = 32;
/// Bytes of a tile.
inline constexpr Index tile_bytes = 1024;

/// Whether this processor and system let the process use tiles. The first call asks the system.
inline bool available() {
#if defined(ATTEND_AMX)
    constexpr int request_permission = 0x1023, tile_data = 18;
    static const bool granted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    return granted;
#else
    return false;
#endif
}

/// Full tiles are at the thread's disposal as long as this lives; what it held in tiles before is lost. A call inside
/// another one's, in a user's formula, leaves the tiles to the outer one.
class Tiles {
public:
    explicit Tiles([[maybe_unused]] bool wanted) {
#if defined(ATTEND_AMX)
        wanted_ = wanted;
        if (!wanted || users()++ > 0) return;
        struct alignas(64) {
            unsigned char palette = 1, start_row = 0, reserved[14] = {};
            unsigned short bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        } const layout;
        asm volatile("" : : "r"(&layout) : "memory");  // the instruction's wrapper tells of 8 of the bytes only
        _tile_loadconfig(&layout);
#endif
    }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;
    ~Tiles() {
#if defined(ATTEND_AMX)
        if (wanted_ && --users() == 0) _tile_release();
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

#pragma once
/// \file
/// Counter-based random numbers: what stands at a place is known without what stands before it.

#include <array>
#include <cstdint>

#include <attend/core/types.hpp>

namespace attend::detail {

/// Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): four words of 32 random bits
/// for each counter of 128 bits and key of 64.
///
/// `Word` is a 64-bit integer, or a vector of them, whose lower half holds a word.
template <class Word>
constexpr std::array<Word, 4> philox(std::array<Word, 4> counter, std::uint64_t key) {
    constexpr std::uint64_t low = 0xFFFFFFFF;
    std::uint64_t k0 = key & low, k1 = key >> 32;
    for (int round = 0; round < 10; ++round) {
        const Word a = counter[0] * std::uint64_t{0xD2511F53}, b = counter[2] * std::uint64_t{0xCD9E8D57};
        counter = {(b >> 32) ^ counter[1] ^ k0, b & low, (a >> 32) ^ counter[3] ^ k1, a & low};
        k0 = (k0 + 0x9E3779B9) & low;
        k1 = (k1 + 0xBB67AE85) & low;
    }
    return counter;
}

}  // namespace attend::detail

#pragma once
/// \file
/// Counter-based random numbers: what stands at a place is known without what stands before it.

#include <array>
#include <cstdint>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): four words of 32 random bits
/// for each counter of 128 bits and key of 64. `words` holds the counter and then the random bits.
///
/// `Word` is a 64-bit integer, or a vector of them, whose lower half holds a word.
template <class Word>
constexpr void philox(std::array<Word, 4>& words, std::uint64_t key) {
    constexpr std::uint64_t low = 0xFFFFFFFF;
    std::uint64_t k0 = key & low, k1 = key >> 32;
    for (int round = 0; round < 10; ++round) {
        const Word a = words[0] * std::uint64_t{0xD2511F53}, b = words[2] * std::uint64_t{0xCD9E8D57};
        words[0] = (b >> 32) ^ words[1] ^ k0;
        words[1] = b & low;
        words[2] = (a >> 32) ^ words[3] ^ k1;
        words[3] = a & low;
        k0 = (k0 + 0x9E3779B9) & low;
        k1 = (k1 + 0xBB67AE85) & low;
    }
}

}  // namespace attend::detail

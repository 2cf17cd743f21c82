#pragma once
/// \file
/// Dropout of attention weights.

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/philox.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI {

/// Dropout of the weights, for training: each becomes 0 with probability `rate`, and the others grow by 1 / (1 − rate)
/// (Srivastava et al. 2014). Which ones, the seed and the pair's sequence, head, query and key decide, whatever the
/// threads, tiles and splits; so a backward call given the same value drops the same ones. Take another seed each step.
struct Dropout {
    double rate = 0;         ///< from 0 to below 1; 0: none is dropped. A call throws at others
    std::uint64_t seed = 0;  ///< another one each step
};

namespace detail {

inline void check(const Dropout& dropout) {
    if (!(dropout.rate >= 0 && dropout.rate < 1))
        refuse("dropout: the rate must be at least 0 and below 1, got ", dropout.rate);
}

/// The factors of the weights, pair by pair.
class DropoutFactors {
public:
    DropoutFactors() = default;
    explicit DropoutFactors(const Dropout& dropout) {
        if (dropout.rate == 0) return;
        check(dropout);
        seed_ = dropout.seed;
        least_ = static_cast<std::uint64_t>(dropout.rate * 0x1p32);
        kept_ = 1 / (1 - dropout.rate);
    }

    /// False for a rate of 0, when nothing is to be done.
    explicit operator bool() const { return least_ > 0; }

    template <class T>
    T at(const Position& p) const {
        return words_at(p)[static_cast<std::size_t>(p.key % 4)] >= least_ ? static_cast<T>(kept_) : T(0);
    }

    /// Multiplies the weights of a query and `keys` keys from p.key on, a multiple of 4, which follow each other.
    template <class T>
    void apply(T* weights, Index keys, Position p) const {
        for (Index j = 0; j < keys; j += 4, p.key += 4) {
            const auto words = words_at(p);
            // What is dropped is 0 whatever stood there: the gradient of a weight may be infinite.
            for (Index r = 0; r < std::min<Index>(4, keys - j); ++r)
                weights[j + r] =
                    words[static_cast<std::size_t>(r)] >= least_ ? static_cast<T>(kept_) * weights[j + r] : T(0);
        }
    }
    /// Multiplies the weights of a query and the keys of a run, which may begin anywhere.
    template <class T>
    void apply_to_run(T* weights, const KeySpan& run, Position p) const {
        for (p.key = run.begin; p.key < run.end; ++p.key, ++weights) {
            const T factor = at<T>(p);
            *weights = factor == T(0) ? T(0) : factor * *weights;
        }
    }
    /// Multiplies the weights of a packet of queries and `keys` keys from p.key on, a multiple of 4. Those of a key
    /// stand `lanes` apart.
    template <class T>
    void apply(T* weights, Index lanes, Index keys, const LanePosition<T>& p) const {
        constexpr Index w = simd::width<T>;
        simd::Words<T> queries{};
        for (Index i = 0; i < w; ++i) queries[i] = word(p.query[i]);
        const simd::Words<T> none{};
        const auto minus_kept = simd::broadcast(static_cast<T>(-kept_));
        for (Index j = 0; j < keys; j += 4) {
            std::array<simd::Words<T>, 4> words{none + word((p.key + j) / 4), queries, none + word(p.head),
                                                none + word(p.sequence)};
            philox(words, seed_);
            for (Index r = 0; r < std::min<Index>(4, keys - j); ++r) {
                const auto minus_keeps = simd::minus_one_from<T>(words[static_cast<std::size_t>(r)], least_);
                T* const row = weights + (j + r) * lanes;
                const auto factor = simd::mul(minus_kept, minus_keeps);
                // What is dropped is 0 whatever stood there: the gradient of a weight may be infinite.
                const auto zero = simd::broadcast(T(0)), x = simd::load(row, p.query.count, T(0));
                simd::store<T>(row, simd::select_equal(factor, zero, zero, simd::mul(factor, x)), p.query.count);
            }
        }
    }

private:
    static constexpr std::uint64_t word(Index i) { return static_cast<std::uint32_t>(i); }
    /// What decides about four keys.
    std::array<std::uint64_t, 4> words_at(const Position& p) const {
        std::array<std::uint64_t, 4> words{word(p.key / 4), word(p.query), word(p.head), word(p.sequence)};
        philox(words, seed_);
        return words;
    }

    std::uint64_t seed_ = 0, least_ = 0;
    double kept_ = 1;
};

}  // namespace detail
}  // namespace attend

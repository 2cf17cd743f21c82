#pragma once
/// \file
/// The frequencies of rotary position embedding, and how they change for contexts longer than a model was trained on.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <attend/core/errors.hpp>

namespace attend::inline ATTEND_ABI {

/// How YaRN tells the pairs that turn often within the original context, whose frequencies stay, from those that turn
/// less than once, which are interpolated: by a ramp between `slow` and `fast` turns.
enum class YarnRamp {
    pairs,  ///< linear in the number of the pair, between whole ones: as released models run it
    turns   ///< linear in the number of turns: as the paper defines it
};
/// The numbers of YaRN (Peng et al. 2023).
struct Yarn {
    double factor = 1;                ///< by how much the context grows
    Index original = 4096;            ///< tokens of the original context
    double fast = 32, slow = 1;       ///< turns within it, where the ramp ends and begins
    YarnRamp ramp = YarnRamp::pairs;  ///< what it is linear in
};
/// Frequencies by wavelength: those below original / high stay, those above original / low are divided by the factor,
/// between them both are mixed.
struct Llama3 {
    double factor = 8;         ///< by how much the context grows
    Index original = 8192;     ///< tokens of the original context
    double low = 1, high = 4;  ///< bounds of the bands, in turns within it
};

namespace detail {

/// base^{−2i/width}, of pair i of so many features, in radians a token.
inline double rope_frequency(Index pair, Index width, double base) {
    return std::exp(-2.0 * std::log(base) / static_cast<double>(width) * static_cast<double>(pair));
}
inline void check_rope_scaling(Index width, double factor, double base) {
    constexpr double most = std::numeric_limits<double>::max();
    require(width > 0 && width % 2 == 0, "rope: the width of a scaled rope must be even and above 0, got ", width);
    require(factor > 0 && factor <= most && base > 0 && base <= most,
            "rope: factor and base must be numbers above 0, got ", factor, " and ", base);
}
/// `of_pair(i, its frequency)` for each pair.
template <class F>
std::vector<double> rope_frequencies(Index width, double base, const F& of_pair) {
    std::vector<double> frequencies(static_cast<std::size_t>(width / 2));
    double* const to = frequencies.data();
    for (Index i = 0; i < width / 2; ++i) to[i] = of_pair(i, rope_frequency(i, width, base));
    return frequencies;
}
/// b where `share` is 1 or more, a where it is 0 or less.
inline double mixed(double a, double b, double share) {
    const double of_b = std::clamp(share, 0.0, 1.0);
    return (1 - of_b) * a + of_b * b;
}

inline std::vector<double> linear_frequencies(Index width, double factor, double base) {
    check_rope_scaling(width, factor, base);
    return rope_frequencies(width, base, [&](Index, double plain) { return plain / factor; });
}
inline double ntk_base(Index width, double factor, double base) {
    check_rope_scaling(width, factor, base);
    require(width > 2, "rope: ntk needs more than one pair of features, got the width ", width);
    const double d = static_cast<double>(width);
    return base * std::pow(factor, d / (d - 2));
}
inline std::vector<double> yarn_frequencies(Index width, const Yarn& by, double base) {
    constexpr double two_pi = 6.283185307179586476925286766559;
    check_rope_scaling(width, by.factor, base);
    require(by.original > 0 && by.slow > 0 && by.fast > by.slow && base > 1,
            "rope: yarn needs an original context above 0, 0 < slow < fast and a base above 1, got ", by.original, ", ",
            by.slow, ", ", by.fast, " and ", base);
    const double context = static_cast<double>(by.original), d = static_cast<double>(width);
    // The pair, not a whole one, that turns so often within the original context.
    const auto pair_of = [&](double turns) { return d * std::log(context / (turns * two_pi)) / (2 * std::log(base)); };
    const double first = std::max(std::floor(pair_of(by.fast)), 0.0),
                 last = std::min(std::ceil(pair_of(by.slow)), d - 1);
    const double ramp = last > first ? last - first : 0.001;
    return rope_frequencies(width, base, [&](Index i, double plain) {
        const double turns = context * plain / two_pi;
        const double kept = by.ramp == YarnRamp::turns ? (turns - by.slow) / (by.fast - by.slow)
                                                       : 1 - (static_cast<double>(i) - first) / ramp;
        return mixed(plain / by.factor, plain, kept);
    });
}
inline std::vector<double> llama3_frequencies(Index width, const Llama3& by, double base) {
    constexpr double two_pi = 6.283185307179586476925286766559;
    check_rope_scaling(width, by.factor, base);
    require(by.original > 0 && by.low > 0 && by.high > by.low,
            "rope: llama3 needs an original context above 0 and 0 < low < high, got ", by.original, ", ", by.low,
            " and ", by.high);
    return rope_frequencies(width, base, [&](Index, double plain) {
        const double turns = static_cast<double>(by.original) * plain / two_pi;
        return mixed(plain / by.factor, plain, (turns - by.low) / (by.high - by.low));
    });
}

}  // namespace detail
}  // namespace attend

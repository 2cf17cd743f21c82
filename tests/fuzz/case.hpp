#pragma once
/// \file
/// One case of the differential tests: a composition, sizes, magnitudes and layouts, all of them small integers, so
/// that a case can be printed, repeated and made smaller. What its operands hold depends on the seed and on where a
/// number stands, not on the sizes: a smaller case holds the same numbers.

#include <array>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>

#include <support/oracle.hpp>

namespace fuzz {

using oracle::Index;

/// 53 random bits of a seed and a place.
inline double uniform(std::uint64_t seed, std::uint64_t a, std::uint64_t b = 0, std::uint64_t c = 0,
                      std::uint64_t d = 0) {
    std::uint64_t x = seed;
    for (const std::uint64_t word : {a, b, c, d}) {
        x = (x ^ word) + 0x9e3779b97f4a7c15U;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
        x ^= x >> 31;
    }
    return static_cast<double>(x >> 11) * 0x1p-53;
}

/// Numbers one after another.
class Draw {
public:
    explicit Draw(std::uint64_t seed) : seed_(seed) {}
    double number() { return uniform(seed_, 0, count_++); }
    Index index(Index first, Index last) {
        return first + static_cast<Index>(number() * static_cast<double>(last - first + 1));
    }
    template <class... X>
    Index one_of(X... x) {
        const std::array<Index, sizeof...(X)> all{static_cast<Index>(x)...};
        return all[static_cast<std::size_t>(index(0, static_cast<Index>(sizeof...(X)) - 1))];
    }
    bool chance(double p) { return number() < p; }

private:
    std::uint64_t seed_;
    std::uint64_t count_ = 0;
};

enum class Batch : Index { one, strided, ragged };
enum class Numbers : Index { random, integers, query_of_zeros };
enum class Threads : Index { serial, openmp, pool };

struct Case {
    std::string composition{};
    std::uint64_t seed = 1;
    // Sizes. Of ragged sequences the first is the longest, the others are drawn.
    Index batch = 0, sequences = 1;
    Index queries = 1, keys = 1, kv_heads = 1, group = 1;
    Index d_q = 1, d_k = 1, d_v = 1, hidden = 1;  ///< most scores have one width, d_k
    Index offset = 0;
    // Powers of ten of magnitudes, and a number added to all entries of a bias: 0, or one of `shifts`.
    Index q_power = 0, k_power = 0, v_power = 0, parameter_power = 0, shift = 0;
    Index numbers = 0;
    Index layout = 0;   ///< 0: compact and row-major; others draw one for each operand
    Index threads = 0;  ///< with 3 of them, where there are any
    Index poison = 0;   ///< what masked operands hold: 0 numbers, 1 NaN, 2 and 3 infinities
    Index adds = 0;     ///< whether gradients are added to numbers

    double nudge = 0;  ///< added to every parameter, for differences of the oracle's loss

    static constexpr std::array<double, 6> shifts{0, -1e9, 1e4, 1e6, -1e4, 30};

    /// Calls `f(name, field)` for every number.
    static void visit(auto& self, auto&& f) {
        f("seed", self.seed), f("batch", self.batch), f("sequences", self.sequences), f("queries", self.queries);
        f("keys", self.keys), f("kv_heads", self.kv_heads), f("group", self.group), f("d_q", self.d_q);
        f("d_k", self.d_k), f("d_v", self.d_v), f("hidden", self.hidden), f("offset", self.offset);
        f("q_power", self.q_power), f("k_power", self.k_power), f("v_power", self.v_power);
        f("parameter_power", self.parameter_power), f("shift", self.shift), f("numbers", self.numbers);
        f("layout", self.layout), f("threads", self.threads), f("poison", self.poison), f("adds", self.adds);
    }
    /// `composition:seed=1,queries=3,…`
    std::string text() const {
        std::ostringstream out;
        out << composition << ':';
        visit(*this, [&](const char* name, const auto& field) {
            out << (name[1] == 'e' && name[2] == 'e' ? "" : ",") << name << '=' << field;
        });
        return out.str();
    }
    static Case of(const std::string& text) {
        Case x;
        x.composition = text.substr(0, text.find(':'));
        visit(x, [&](const std::string& name, auto& field) {
            for (const char before : {':', ','}) {
                const auto at = text.find(before + name + "=");
                if (at != std::string::npos) std::istringstream(text.substr(at + name.size() + 2)) >> field;
            }
        });
        return x;
    }

    Index heads() const { return kv_heads * group; }
    double shift_value() const { return shifts[static_cast<std::size_t>(shift)]; }
    double uniform_at(std::uint64_t what, Index a = 0, Index b = 0, Index c = 0) const {
        return uniform(seed, what, static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b),
                       static_cast<std::uint64_t>(c));
    }
    /// A number within ±10^power; among integers, within ±2.
    double number_at(std::uint64_t what, Index power, Index a = 0, Index b = 0, Index c = 0) const {
        const double x = uniform_at(what, a, b, c);
        if (numbers != static_cast<Index>(Numbers::random)) return std::floor(5 * x) - 2;
        return (2 * x - 1) * std::pow(10.0, static_cast<double>(power));
    }
};

/// What a composition asks of its cases.
struct Wants {
    bool two_widths = false;      ///< d_q and d_k may differ
    bool positive = false;        ///< operands above 0
    bool moderate = false;        ///< no magnitudes above 10: the formula overflows or is all noise beyond
    bool large_features = false;  ///< magnitudes of 1e4 are of interest
    bool shifts = false;          ///< has a bias that can shift rows
};

/// Sizes at and beside the edges of packets and blocks are likely, large ones are not. One case of 20 has a long
/// sequence, more queries than a team of blocks takes and keys of several tiles, and keeps it whatever the work; none
/// has where hardly any work is wanted.
inline Case draw_case(const std::string& composition, const Wants& wants, std::uint64_t seed, Index most_work) {
    Draw draw(seed * 0x2545f4914f6cdd1dU + 1);
    Case x;
    x.composition = composition;
    x.seed = seed;
    const auto size = [&](Index most) -> Index {
        const double p = draw.number();
        if (p < 0.45) return draw.index(1, std::min<Index>(most, 9));
        if (p < 0.75)
            return std::min(most, std::max<Index>(1, draw.one_of(4, 8, 16, 32, 64, 96, 128) + draw.index(-1, 1)));
        return draw.index(1, most);
    };
    x.batch = draw.one_of(0, 0, 0, 1, 2);
    x.sequences = x.batch == 0 ? 1 : draw.index(1, 4);
    x.queries = draw.chance(0.03) ? 0 : size(140);
    x.keys = draw.chance(0.04) ? 0 : draw.chance(0.06) ? draw.one_of(1023, 1024, 1025, 1100, 2049) : size(200);
    x.kv_heads = draw.one_of(1, 1, 1, 2, 3);
    x.group = draw.one_of(1, 1, 1, 2, 3, 5);
    x.d_k = size(130);
    x.d_q = wants.two_widths && draw.chance(0.5) ? size(40) : x.d_k;
    x.d_v = size(130);
    x.hidden = size(70);
    if (x.keys > 1000) x.queries = std::min<Index>(x.queries, 40);
    const bool is_long = draw.chance(0.05) && most_work >= 40000;
    if (is_long) {
        const double p = draw.number();
        x.queries = 130 + static_cast<Index>(570 * p * p);
        x.keys = draw.chance(0.3) ? x.queries : std::min<Index>(700, draw.chance(0.5) ? draw.index(1, 700) : x.keys);
        most_work = std::max<Index>(most_work, draw.one_of(1000000, 2000000, 6000000));
    }
    const auto pairs = [&] { return x.sequences * x.queries * std::max<Index>(1, x.keys) * x.heads(); };
    const auto work = [&] { return pairs() * (x.d_k + x.d_v + (wants.two_widths ? x.hidden : 0)); };
    while (work() > most_work) {
        Index* largest = &x.d_k;
        for (Index* each : {&x.d_v, &x.hidden, &x.queries, &x.keys, &x.kv_heads, &x.group, &x.sequences}) {
            if (each == &x.hidden && !wants.two_widths) continue;
            if (is_long && (each == &x.queries || each == &x.keys)) continue;
            if (*each > *largest) largest = each;
        }
        if (*largest == 1) break;
        *largest = (*largest + 1) / 2;
        if (!wants.two_widths) x.d_q = x.d_k;
    }
    x.offset = draw.one_of(0, 0, 0, 1, 5, 64, 1000, -3);
    const Index most = wants.moderate ? 0 : 1;
    x.q_power = draw.chance(0.6) ? 0 : draw.index(-3, most);
    x.k_power = draw.chance(0.6) ? 0 : draw.index(-3, most);
    if (wants.large_features && draw.chance(0.5)) x.q_power = draw.index(1, 4), x.k_power = draw.index(1, 4);
    if (!wants.moderate && draw.chance(0.05)) x.q_power = draw.index(2, 4);
    if (!wants.moderate && draw.chance(0.05)) x.k_power = draw.index(2, 4);
    x.v_power = draw.chance(0.6) ? 0 : draw.index(-3, 4);
    x.parameter_power = draw.chance(0.7) ? 0 : draw.index(-2, 1);
    x.numbers = draw.one_of(0, 0, 0, 0, 1, 2);
    if (wants.shifts) x.shift = draw.one_of(0, 0, 1, 2, 3, 4, 5);
    x.layout = draw.index(0, 3);
    x.threads = draw.one_of(0, 0, 1, 2);
    x.poison = draw.index(0, 3);
    x.adds = draw.index(0, 1);
    return x;
}

/// Whether `fails` is asked of ever smaller cases, as long as it says yes.
template <class Fails>
Case shrink(Case x, const Wants& wants, Fails fails) {
    int budget = 400;
    const auto attempt = [&](auto change) {
        Case y = x;
        change(y);
        if (!wants.two_widths) y.d_q = y.d_k;
        if (y.text() == x.text() || budget-- <= 0 || !fails(y)) return false;
        x = y;
        return true;
    };
    for (bool smaller = true; smaller && budget > 0;) {
        smaller = false;
        for (const auto field : {&Case::threads, &Case::layout, &Case::adds, &Case::poison, &Case::offset, &Case::shift,
                                 &Case::q_power, &Case::k_power, &Case::v_power, &Case::parameter_power, &Case::batch})
            smaller |= attempt([&](Case& y) {
                y.*field = 0;
                if (y.batch == 0) y.sequences = 1;
            });
        for (const auto field : {&Case::sequences, &Case::kv_heads, &Case::group, &Case::queries, &Case::keys,
                                 &Case::d_k, &Case::d_q, &Case::d_v, &Case::hidden}) {
            const Index now = x.*field;
            for (const Index to : {Index(1), now / 4, now / 2, now - now / 4, now - 1}) {
                if (to >= 1 && to < x.*field && attempt([&](Case& y) { y.*field = to; })) smaller = true;
            }
        }
        if (x.numbers == 0) smaller |= attempt([](Case& y) { y.numbers = 1; });
    }
    return x;
}

}  // namespace fuzz

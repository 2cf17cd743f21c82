#pragma once

#include <cstdint>
#include <random>
#include <utility>

namespace support {

/// A seeded source of chance that gives the same numbers with every standard library.
/// (The engines of <random> are exact by the standard; its distributions are not.)
class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}

    std::uint64_t bits() { return engine_(); }
    int below(int count) { return static_cast<int>(engine_() % static_cast<std::uint64_t>(count)); }
    int between(int first, int last) { return first + below(last - first + 1); }
    bool chance(int percent) { return below(100) < percent; }

    template <class Choices>
    const auto& pick(const Choices& choices) {
        return *(std::begin(choices) + below(static_cast<int>(std::size(choices))));
    }

    /// Uniform in [-bound, bound).
    template <class T>
    T symmetric(T bound) {
        return bound * static_cast<T>(static_cast<double>(engine_() >> 11) * 0x1p-52 - 1.0);
    }

    double uniform(double least, double most) { return least + (most - least) * (symmetric(0.5) + 0.5); }
    template <class Values>
    void shuffle(Values& values) {
        for (std::size_t i = values.size(); i-- > 1;)
            std::swap(values[i], values[static_cast<std::size_t>(below(static_cast<int>(i) + 1))]);
    }

private:
    std::mt19937_64 engine_;
};

}  // namespace support

#pragma once

#include "random.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace support {

/// A recording that is made up: noise, and on top of it whistles, knocks and bursts. Times are seconds, pitches hertz;
/// what reaches beyond the end is cut off.
class Sound {
public:
    static constexpr int rate = 48000;  ///< samples a second

    std::vector<float> samples;

    explicit Sound(std::size_t count) : samples(count) {}

    /// More of it in the low frequencies, as in a room.
    void add_noise(double loudness, Random& random) {
        double low = 0;
        for (float& sample : samples) {
            const double white = random.uniform(-1, 1);
            low += 0.1 * (white - low);
            sample += static_cast<float>(loudness * (0.3 * white + 1.5 * low));
        }
    }
    /// Its pitch goes from `from` to `to` in even intervals.
    void add_whistle(double at, double length, double loudness, double from, double to) {
        double phase = 0;
        add(at, length, [&](double time) {
            phase += 2 * std::numbers::pi * from * std::pow(to / from, time / length) / rate;
            return loudness * std::sin(phase) * std::min({1.0, time / 0.02, (length - time) / 0.02});
        });
    }
    void add_knock(double at, double loudness, double pitch) {
        add(at, 0.08, [&](double time) {
            return loudness * std::exp(-time / 0.015) * std::sin(2 * std::numbers::pi * pitch * time);
        });
    }
    void add_burst(double at, double length, double loudness, Random& random) {
        add(at, length, [&](double) { return loudness * random.uniform(-1, 1); });
    }

private:
    template <class Wave>
    void add(double at, double length, const Wave& wave) {
        const auto begin = static_cast<std::size_t>(at * rate);
        for (std::size_t i = begin; i < samples.size(); ++i) {
            const double time = static_cast<double>(i - begin) / rate;
            if (time >= length) break;
            samples[i] += static_cast<float>(wave(time));
        }
    }
};

}  // namespace support

#pragma once

#include "../support/filter_bank.hpp"

#include <array>
#include <string_view>

/// The sounds to listen to, made as they are needed.
namespace streaming_audio {

using support::Random, support::Rows;

inline constexpr int block_size = 128;  ///< samples that an audio callback is given: 2.67 ms
inline constexpr double frames_a_second = static_cast<double>(support::Sound::rate) / block_size;

enum Kind { nothing, rising, falling, double_knock, kinds };
inline constexpr std::array<std::string_view, kinds> kind_names{"nothing", "rising whistle", "falling whistle",
                                                                "double knock"};

inline constexpr int bands = 16;
using Ear = support::FilterBank<bands>;

/// Noise with events in it, and what each block should be heard as. Whistles that rise or fall, and two knocks in quick
/// succession, are events; steady whistles, single knocks and bursts of noise, as loud, are none.
struct Sounds : support::Sound {
    std::vector<Eigen::Index> labels;  ///< a Kind for each block
    Rows<float> frames;                ///< what the ear makes of each

    /// The noise is of any loudness, and alone for the first quarter of a second.
    explicit Sounds(Random& random, double seconds = 2.4)
        : Sound(static_cast<std::size_t>(seconds * frames_a_second) * block_size),
          labels(samples.size() / block_size, nothing) {
        const double noise = std::pow(10, random.uniform(-2.5, -1));
        add_noise(noise, random);
        for (double at = random.uniform(0.25, 0.6); at < seconds; at += random.uniform(0.6, 1)) {
            const double loudness = noise * random.uniform(1, 2.5), length = random.uniform(0.25, 0.5);
            const int event = random.below(6);
            if (event < 3) {  // a whistle; which way it goes can be told after a while
                const double pitch = random.uniform(900, 1500), factor = random.uniform(1.22, 1.48);
                const double change = event == 0 ? factor : event == 1 ? 1 / factor : 1;
                add_whistle(at, length, loudness, pitch / change, pitch * change);
                label(at + 0.08, at + length, event == 0 ? rising : event == 1 ? falling : nothing);
            } else if (event < 5) {
                const double second = at + random.uniform(0.09, 0.22), pitch = random.uniform(180, 420);
                add_knock(at, 2 * loudness, pitch);
                if (event == 4) continue;
                add_knock(second, 2 * loudness, pitch);
                label(second + 0.01, second + 0.12, double_knock);
            } else {
                add_burst(at, length, loudness, random);
            }
        }
        frames = Ear::frames_of(*this, block_size);
    }
    Eigen::ArrayXf is_event() const {
        return Eigen::ArrayX<Eigen::Index>::Map(labels.data(), std::ssize(labels)).min(1).cast<float>();
    }
    std::span<const float> block(Eigen::Index i) const { return {samples.data() + i * block_size, block_size}; }
    Eigen::Index first(Kind kind) const { return std::ranges::find(labels, Eigen::Index(kind)) - labels.begin(); }

private:
    void label(double begin, double end, Kind kind) {
        for (std::size_t i = 0; i < labels.size(); ++i) {
            const double time = static_cast<double>(i) / frames_a_second;
            if (begin <= time && time < end) labels[i] = kind;
        }
    }
};

}  // namespace streaming_audio

#pragma once

#include "layers.hpp"
#include "sound.hpp"

#include <array>
#include <cmath>
#include <numbers>
#include <span>

namespace support {

/// How loud a sound is in bands of frequency, three to an octave from 150 Hz on, block by block: band-pass filters of
/// two poles each, whose state goes on from block to block. Nothing from the heap.
template <int bands>
class FilterBank {
public:
    using Frame = Eigen::Matrix<float, 1, bands>;

    explicit FilterBank(double samples_a_second) {
        for (int band = 0; band < bands; ++band) {
            constexpr double quality = 4;
            const double angle = 2 * std::numbers::pi * pitch_of(band) / samples_a_second,
                         width = std::sin(angle) / (2 * quality);
            Filter& filter = filters_[static_cast<std::size_t>(band)];
            filter.gain = static_cast<float>(width / (1 + width));
            filter.a1 = static_cast<float>(2 * std::cos(angle) / (1 + width));
            filter.a2 = static_cast<float>((1 - width) / (1 + width));
        }
    }

    /// The middle of a band in hertz.
    static double pitch_of(int band) { return 150 * std::pow(2, band / 3.0); }

    /// Half the decimal logarithm of the power in each band, held for a moment: about -2 to 2.
    Frame hear(std::span<const float> block) {
        Frame heard;
        for (int band = 0; band < bands; ++band) {
            Filter& f = filters_[static_cast<std::size_t>(band)];
            float power = 0;
            for (const float x : block) {
                const float y = f.gain * (x - f.x2) + f.a1 * f.y1 - f.a2 * f.y2;
                f.x2 = f.x1, f.x1 = x, f.y2 = f.y1, f.y1 = y;
                power += y * y;
            }
            f.power += 0.3f * (power / static_cast<float>(block.size()) - f.power);
            heard[band] = 0.5f * (std::log10(f.power + 1e-9f) + 5);
        }
        return heard;
    }

    /// A whole recording, a row for each block.
    static Rows<float> frames_of(const Sound& sound, std::size_t block) {
        FilterBank bank(Sound::rate);
        Rows<float> frames(static_cast<Eigen::Index>(sound.samples.size() / block), bands);
        for (Eigen::Index i = 0; i < frames.rows(); ++i)
            frames.row(i) = bank.hear(std::span(sound.samples).subspan(static_cast<std::size_t>(i) * block, block));
        return frames;
    }

private:
    struct Filter {
        float gain = 0, a1 = 0, a2 = 0;
        float x1 = 0, x2 = 0, y1 = 0, y2 = 0, power = 0;
    };
    std::array<Filter, bands> filters_{};
};

}  // namespace support

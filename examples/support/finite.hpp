#pragma once

#include "numbers.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

/// What becomes of numbers that are not finite: no training goes on from one, and none is saved, loaded or shown.
namespace support {

/// Something has come to infinity or to what is no number, so that nothing that follows would mean anything.
struct NotFinite : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class T>
bool are_finite(const Numbers<T>& numbers) {
    return std::ranges::all_of(numbers, [](const auto& parameter) {
        return std::ranges::all_of(parameter, [](T number) { return std::isfinite(number); });
    });
}

/// Why training has to stop.
inline NotFinite diverged(const std::string& what, int step) {
    return NotFinite(what + " of training step " + std::to_string(step) +
                     " is not finite: training stops, and nothing of it is saved");
}

}  // namespace support

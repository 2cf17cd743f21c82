#pragma once
/// \file
/// Sinusoidal position encoding.

#include <cmath>

#include <attend/core/errors.hpp>
#include <attend/core/positions.hpp>

namespace attend::inline ATTEND_ABI {

/// positions × width: column 2i is sin(pos / base^{2i/width}), column 2i+1 the cosine, for pos = offset … offset +
/// positions − 1 (Vaswani et al. 2017). Throws where a size is negative, or the offset beyond ±2^53.
template <class T>
RowMatrix<T> sinusoidal(Index positions, Index width, Index offset = 0, double base = 10000.0) {
    detail::require(positions >= 0 && width >= 0, "sinusoidal: positions and width must not be negative, got ",
                    positions, " and ", width);
    detail::check_position("sinusoidal: the offset", offset);
    RowMatrix<T> encoding(positions, width);
    for (Index column = 0; column < width; ++column) {
        const double frequency = std::pow(base, -static_cast<double>(column - column % 2) / static_cast<double>(width));
        for (Index row = 0; row < positions; ++row) {
            const double angle = static_cast<double>(offset + row) * frequency;
            encoding(row, column) = static_cast<T>(column % 2 == 0 ? std::sin(angle) : std::cos(angle));
        }
    }
    return encoding;
}

}  // namespace attend

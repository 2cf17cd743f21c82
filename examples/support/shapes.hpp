#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace support {

enum Shape { circle, square, triangle };
inline constexpr std::array<std::string_view, 3> shape_names{"circle", "square", "triangle"};

/// How far (x, y) lies outside a shape around (0, 0), below 0 inside. The three of a size cover about as much.
inline double distance_to(Shape shape, double size, double x, double y) {
    switch (shape) {
        case circle:
            return std::hypot(x, y) - size;
        case square:
            return std::max(std::abs(x), std::abs(y)) - 0.89 * size;
        default:
            return std::max(0.87 * std::abs(x) - 0.5 * y, y) - 0.7 * size;
    }
}

}  // namespace support

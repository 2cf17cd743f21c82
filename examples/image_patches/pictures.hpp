#pragma once

#include "../support/layers.hpp"
#include "../support/patches.hpp"
#include "../support/shapes.hpp"

#include <attend/attend.hpp>

#include <numbers>
#include <vector>

/// The pictures to look at, drawn as they are needed.
namespace image_patches {

using attend::Index;
using support::Random, support::Rows, support::Shape;

inline constexpr Index side = 48, patch = 6, grid = side / patch, patches = grid * grid;

/// The outline of one shape anywhere, among strokes, dots and noise. What it shows is the shape's kind.
struct Picture {
    Shape shape;
    double x, y, size;
    Rows<float> pixels = Rows<float>::Zero(side, side);  ///< 0 to 1, and noise

    explicit Picture(Random& random) {
        const auto draw = [&](const auto& distance, double light) {
            for (int row = 0; row < side; ++row)
                for (int column = 0; column < side; ++column) {
                    const double ink = light * std::clamp(1.4 - std::abs(distance(column + 0.5, row + 0.5)), 0.0, 1.0);
                    pixels(row, column) = std::max(pixels(row, column), static_cast<float>(ink));
                }
        };
        shape = static_cast<Shape>(random.below(3));
        size = random.uniform(6, 9);
        x = random.uniform(size + 3, side - size - 3), y = random.uniform(size + 3, side - size - 3);
        draw([&](double px, double py) { return distance_to(shape, size, px - x, py - y); }, random.uniform(0.5, 1));
        for (int stroke = 0; stroke < 4; ++stroke) {
            const double angle = random.uniform(0, std::numbers::pi), half = random.uniform(3, 7),
                         cx = random.uniform(0, side), cy = random.uniform(0, side);
            const auto distance = [&](double px, double py) {
                const double along = (px - cx) * std::cos(angle) + (py - cy) * std::sin(angle);
                const double at = std::clamp(along, -half, half);
                return std::hypot(px - cx - at * std::cos(angle), py - cy - at * std::sin(angle));
            };
            draw(distance, random.uniform(0.5, 1));
        }
        for (int dot = 0; dot < 4; ++dot) {
            const double cx = random.uniform(0, side), cy = random.uniform(0, side), radius = random.uniform(0, 1);
            draw([&](double px, double py) { return std::max(0.0, std::hypot(px - cx, py - cy) - radius); },
                 random.uniform(0.5, 1));
        }
        for (float& pixel : pixels.reshaped()) pixel += random.symmetric(0.1f);
    }

    /// Whether the shape's outline passes through a patch.
    bool has_shape(Index token) const {
        for (Index i = 0; i < patch * patch; ++i) {
            const double px = static_cast<double>(token % grid * patch + i % patch) + 0.5 - x;
            const double py = static_cast<double>(token / grid * patch + i / patch) + 0.5 - y;
            if (std::abs(distance_to(shape, size, px, py)) < 1) return true;
        }
        return false;
    }
};

/// Pictures as tokens: a row for each patch, row by row of the picture, and the pictures below each other.
struct Batch {
    Rows<float> tokens;
    std::vector<Index> labels;
    std::vector<Index> begins{0},
        class_begins{0};  ///< where each picture's rows begin: its patches', its class token's

    explicit Batch(Random& random, Index count = 16) {
        for (Index i = 0; i < count; ++i) add(Picture(random));
    }
    explicit Batch(const Picture& picture) { add(picture); }

private:
    void add(const Picture& picture) {
        tokens.conservativeResize(begins.back() + patches, patch * patch);
        tokens.bottomRows(patches) = support::patches_of(picture.pixels, patch, patch);
        labels.push_back(picture.shape);
        begins.push_back(begins.back() + patches), class_begins.push_back(class_begins.back() + 1);
    }
};

}  // namespace image_patches

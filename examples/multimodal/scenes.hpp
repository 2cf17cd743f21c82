#pragma once

#include "../support/patches.hpp"
#include "../support/shapes.hpp"

#include <attend/attend.hpp>

#include <vector>

/// Pictures and questions about them, made as they are needed.
namespace multimodal {

using attend::Index;
using support::Random, support::Rows, support::Shape, support::shape_names;

inline constexpr Index side = 40, patch = 10, grid = side / patch, patches = grid * grid, channels = 3;

inline constexpr std::array<std::string_view, 4> colour_names{"red", "green", "blue", "yellow"};
inline const std::array<Eigen::RowVector3f, 4> colours{
    Eigen::RowVector3f{0.9f, 0.2f, 0.2f}, {0.2f, 0.7f, 0.3f}, {0.2f, 0.4f, 0.9f}, {0.9f, 0.8f, 0.2f}};

/// All words of questions and answers; a word is known by its place here.
inline constexpr std::array<std::string_view, 13> words{
    "circle", "square", "triangle", "red", "green", "blue", "yellow", "what", "which", "shape", "colour", "is", "the"};
inline constexpr Index answers = 7;  // the first seven

inline Index word(std::string_view text) { return std::ranges::find(words, text) - words.begin(); }

/// A circle, a square and a triangle, each in a patch of its own and of its own colour, and a question of one of two
/// kinds.
struct Scene {
    Rows<float> pixels = Rows<float>::Zero(side, side* channels);  ///< red, green, blue of each pixel
    std::vector<Index> question;
    Index answer;

    explicit Scene(Random& random) {
        std::array<int, 4> palette{0, 1, 2, 3};
        random.shuffle(palette);
        std::array<int, patches> cells{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        random.shuffle(cells);
        for (std::size_t i = 0; i < shape_names.size(); ++i) {
            const double size = random.uniform(3, 3.6), x = random.uniform(4.5, 5.5), y = random.uniform(4.5, 5.5);
            draw(static_cast<Shape>(i), colours[static_cast<std::size_t>(palette[i])], size,
                 x + static_cast<double>(cells[i] % grid * patch), y + static_cast<double>(cells[i] / grid * patch));
        }

        const auto shape = static_cast<std::size_t>(random.below(3));
        const std::string_view colour = colour_names[static_cast<std::size_t>(palette[shape])];
        if (random.chance(50))
            ask({"what", "colour", "is", "the", shape_names[shape]}, colour);
        else
            ask({"which", "shape", "is", colour}, shape_names[shape]);
    }

private:
    void ask(std::initializer_list<std::string_view> text, std::string_view right) {
        for (const std::string_view each : text) question.push_back(word(each));
        answer = word(right);
    }
    void draw(Shape shape, const Eigen::RowVector3f& colour, double size, double x, double y) {
        for (int row = 0; row < side; ++row)
            for (int column = 0; column < side; ++column) {
                const double outside = distance_to(shape, size, column + 0.5 - x, row + 0.5 - y);
                const auto ink = static_cast<float>(std::clamp(0.5 - outside, 0.0, 1.0));
                auto pixel = pixels.block<1, channels>(row, column * channels);
                pixel += ink * (colour - pixel);
            }
    }
};

/// Scenes as tokens, those of all below each other: patches, which are black where nobody sees, and words, one that
/// says nothing where nobody reads.
template <bool sees = true, bool reads = true>
struct Batch {
    Rows<float> tokens;
    std::vector<Index> text, labels;
    std::vector<Index> picture_begins{0}, text_begins{0};

    explicit Batch(Random& random, Index count = 8) {
        for (Index i = 0; i < count; ++i) add(Scene(random));
    }
    explicit Batch(const Scene& scene) { add(scene); }

private:
    void add(const Scene& scene) {
        picture_begins.push_back(picture_begins.back() + patches);
        tokens.conservativeResize(picture_begins.back(), patch * patch * channels);
        tokens.bottomRows(patches).setZero();
        if (sees) tokens.bottomRows(patches) = support::patches_of(scene.pixels, patch, patch * channels);
        const std::vector<Index> silence{word("the")};
        const std::vector<Index>& read = reads ? scene.question : silence;
        text.insert(text.end(), read.begin(), read.end());
        text_begins.push_back(static_cast<Index>(text.size()));
        labels.push_back(scene.answer);
    }
};

}  // namespace multimodal

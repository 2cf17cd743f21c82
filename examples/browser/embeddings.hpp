#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include <attend/attend.hpp>

namespace browser {

using attend::Index;
using Matrix = attend::RowMatrix<float>;

constexpr Index width = 64;  ///< features of a head

/// Signs of a text's own, of length 1 in all: those of two texts agree about half of the time, so that they hardly
/// match.
inline Eigen::RowVectorXf signs(std::string_view text) {
    std::uint64_t seed = 0;
    for (const char c : text) seed = attend::Random(seed ^ static_cast<unsigned char>(c))();
    Eigen::RowVectorXf result(width);
    for (Index i = 0; i < width; ++i) result[i] = (seed >> i & 1) == 0 ? -0.125f : 0.125f;
    return result;
}

/// Words match the more of their letters they share, three in a row, of which `^` is a word's beginning.
inline Eigen::RowVectorXf letters_embedding(const std::string& letters) {
    const std::string word = '^' + letters;
    Eigen::RowVectorXf sum = Eigen::RowVectorXf::Zero(width);
    std::size_t i = 0;
    do sum += signs(std::string_view(word).substr(i, 3));
    while (++i + 3 <= word.size());
    return sum.normalized();
}

/// Queries and keys of a head, a row for each token.
struct Looks {
    Matrix q, k;

    explicit Looks(Index tokens) : q(Matrix::Zero(tokens, width)), k(q) {}

    /// Of vectors of length 1, so that those that match in full score `score`.
    Looks& sharpen(float score) {
        const float length = std::sqrt(score * std::sqrt(static_cast<float>(width)));
        q *= length;
        k *= length;
        return *this;
    }
};

}  // namespace browser

#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <attend/attend.hpp>

#include "tokens.hpp"

namespace browser {

using attend::Index;
using Matrix = attend::RowMatrix<float>;

/// The heads of the page, in its order. Nobody trained them: queries and keys are made so that each head does one thing
/// that heads of trained models were found to do. Only the last is as chance made it.
enum Head { previous_token, nearby, same_letters, continuation, last_mark, untrained, head_count };

/// How fast a head's scores fall with the distance.
constexpr std::array<float, head_count> slopes = {0, 0.5f, 0, 0, 0.25f, 0};

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

/// Queries and keys, a row for each token.
struct Looks {
    Matrix q, k;

    explicit Looks(Index tokens) : q(Matrix::Zero(tokens, width)), k(q) {}
};

/// The same vector at every token, which RoPE turns by the token's position, of queries by one less. Frequencies that
/// go evenly from 0 to π agree at no other distance.
inline Looks looks_at_previous_token(Index tokens) {
    Looks looks(tokens);
    looks.q.setConstant(1 / std::sqrt(static_cast<float>(width)));
    looks.k = looks.q;
    attend::Rope rope;
    for (Index pair = 0; pair < width / 2; ++pair) {
        rope.frequencies.push_back((static_cast<double>(pair) + 0.5) * 3.14159265358979323846 / (width / 2));
    }
    rope(looks.q, -1);
    rope(looks.k);
    return looks;
}

/// Random projections of what layers are given: the token's embedding and its position.
inline Looks looks_by_chance(const Matrix& letters) {
    attend::Random random(5);
    Matrix query_weight(width, width), key_weight(width, width);
    attend::fill_xavier(query_weight, random);
    attend::fill_xavier(key_weight, random);
    const Matrix x = letters + attend::sinusoidal<float>(letters.rows(), width) / std::sqrt(width / 2.f);
    Looks looks(letters.rows());
    looks.q = x * query_weight;
    looks.k = x * key_weight;
    return looks;
}

/// Queries and keys of all heads, tokens × (heads · width), the heads side by side. Vectors of length 1 that match in
/// full score `sharpness`.
inline Looks looks_of_heads(const std::vector<Token>& tokens) {
    const Index n = std::ssize(tokens);
    Matrix letters(n, width), words(n, width);
    Looks all(0), mark(n), nothing(n), next(n);
    for (Index i = 0; i < n; ++i) {
        const Token& token = tokens[static_cast<std::size_t>(i)];
        letters.row(i) = letters_embedding(token.letters);
        next.q.row(i) = signs(token.letters);
        if (i + 1 < n) next.k.row(i + 1) = next.q.row(i);  // a key tells which word stood before it
        mark.q(i, 0) = 1;
        mark.k(i, 0) = token.is_mark() ? 1.f : 0.f;
    }
    Looks same(n);
    same.q = same.k = letters;

    all.q.resize(n, head_count * width);
    all.k.resize(n, head_count * width);
    const auto set = [&](Head head, const Looks& looks, float sharpness) {
        const float length = std::sqrt(sharpness * std::sqrt(static_cast<float>(width)));
        all.q.middleCols(head * width, width) = length * looks.q;
        all.k.middleCols(head * width, width) = length * looks.k;
    };
    set(previous_token, looks_at_previous_token(n), 8);
    set(nearby, nothing, 0);
    set(same_letters, same, 5);
    set(continuation, next, 8);
    set(last_mark, mark, 6);
    set(untrained, looks_by_chance(letters), 8);
    return all;
}

}  // namespace browser

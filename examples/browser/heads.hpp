#pragma once

#include <array>
#include <cmath>
#include <vector>

#include <attend/attend.hpp>

#include "embeddings.hpp"
#include "learner.hpp"
#include "tokens.hpp"

namespace browser {

/// The heads of the page, in its order. Nobody trained the first five: queries and keys are made so that each does one
/// thing that heads of trained models were found to do.
enum Head { previous_token, nearby, same_letters, continuation, last_mark, learning, head_count };

/// How fast a head's scores fall with the distance.
constexpr std::array<float, head_count> slopes = {0, 0.5f, 0, 0, 0.25f, 0};

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
    return looks.sharpen(8);
}

inline Looks looks_at_same_letters(const std::vector<Token>& tokens) {
    Looks looks(std::ssize(tokens));
    for (Index i = 0; i < looks.q.rows(); ++i) {
        looks.q.row(i) = letters_embedding(tokens[static_cast<std::size_t>(i)].letters);
    }
    looks.k = looks.q;
    return looks.sharpen(5);
}

/// A query says which word it is, a key which word stood before it.
inline Looks looks_at_continuation(const std::vector<Token>& tokens) {
    Looks looks(std::ssize(tokens));
    for (Index i = 0; i < looks.q.rows(); ++i) {
        looks.q.row(i) = signs(tokens[static_cast<std::size_t>(i)].letters);
        if (i > 0) looks.k.row(i) = looks.q.row(i - 1);
    }
    return looks.sharpen(8);
}

/// Keys say whether they are punctuation; the slope prefers the nearest.
inline Looks looks_at_last_mark(const std::vector<Token>& tokens) {
    Looks looks(std::ssize(tokens));
    looks.q.col(0).setOnes();
    for (Index i = 0; i < looks.k.rows(); ++i) {
        looks.k(i, 0) = tokens[static_cast<std::size_t>(i)].is_mark() ? 1.f : 0.f;
    }
    return looks.sharpen(6);
}

/// Queries and keys of all heads, n × width each, side by side.
class AllLooks {
public:
    AllLooks() = default;
    AllLooks(const std::vector<Token>& tokens, const Learner& learner)
        : q_(std::ssize(tokens), head_count * width), k_(q_.rows(), q_.cols()) {
        set(previous_token, looks_at_previous_token(q_.rows()));
        set(nearby, Looks(q_.rows()));  // nothing but its slope
        set(same_letters, looks_at_same_letters(tokens));
        set(continuation, looks_at_continuation(tokens));
        set(last_mark, looks_at_last_mark(tokens));
        set(learning, learner.looks(tokens));
    }

    void set(Head head, const Looks& looks) {
        q_.middleCols(head * width, width) = looks.q;
        k_.middleCols(head * width, width) = looks.k;
    }
    const Matrix& q() const { return q_; }
    const Matrix& k() const { return k_; }

private:
    Matrix q_, k_;
};

}  // namespace browser

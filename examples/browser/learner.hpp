#pragma once

#include <cmath>
#include <string_view>
#include <vector>

#include <attend/attend.hpp>

#include "embeddings.hpp"
#include "tokens.hpp"

namespace browser {

/// A head that learns from the text, by steps of gradient descent, to look where the next word stood before. What it is
/// given of a token is the word, the word before, and the position.
class Learner {
public:
    Learner() { forget(); }

    /// As chance makes it.
    void forget() {
        attend::Random random(5);
        query_weight_.resize(3 * width, width);
        key_weight_.resize(3 * width, width);
        attend::fill_xavier(query_weight_, random);
        attend::fill_xavier(key_weight_, random);
    }

    Looks looks(const std::vector<Token>& tokens) const {
        const Matrix x = features(tokens);
        Looks looks(x.rows());
        looks.q = x * query_weight_;
        looks.k = x * key_weight_;
        return looks;
    }

    /// One step; returns the loss before it, the mean of −log p, with p the weight at the places where the next word
    /// stood before. Of a text in which no word comes again, 0.
    float learn(const std::vector<Token>& tokens) {
        const Index n = std::ssize(tokens);
        const auto attention = attend::scaled_dot_product >> attend::causal;
        const Looks looks = this->looks(tokens);
        const Matrix values = Matrix::Ones(n, 1);  // only the weights matter
        Matrix out, weights, dq, dk, dvalues;
        Eigen::VectorXf lse;
        attention(looks.q, looks.k, values, out, {.lse = lse, .weights = weights});

        float loss = 0, examples = 0;
        Matrix dweights = Matrix::Zero(n, n);
        for (Index i = 0; i + 1 < n; ++i) {
            const auto is_next = [&](Index j) { return word(tokens, j) == word(tokens, i + 1); };
            float p = 0;
            for (Index j = 0; j <= i; ++j) p += is_next(j) ? weights(i, j) : 0.f;
            if (p == 0) continue;
            loss -= std::log(p);
            ++examples;
            for (Index j = 0; j <= i; ++j) dweights(i, j) = is_next(j) ? -1 / p : 0.f;
        }
        if (examples == 0) return 0;
        dweights /= examples;

        const Matrix dout = Matrix::Zero(n, 1);
        attention.backward(looks.q, looks.k, values, out, lse, dout, dq, dk, dvalues, {.dweights = dweights});
        const Matrix x = features(tokens);
        query_weight_ -= rate * x.transpose() * dq;
        key_weight_ -= rate * x.transpose() * dk;
        return loss / examples;
    }

private:
    static constexpr float rate = 1e-3f;

    static std::string_view word(const std::vector<Token>& tokens, Index i) {
        return tokens[static_cast<std::size_t>(i)].letters;
    }
    static Matrix features(const std::vector<Token>& tokens) {
        const Index n = std::ssize(tokens);
        Matrix x = Matrix::Zero(n, 3 * width);
        x.rightCols(width) = attend::sinusoidal<float>(n, width) / std::sqrt(width / 2.f);
        for (Index i = 0; i < n; ++i) {
            x.row(i).head(width) = signs(word(tokens, i));
            if (i + 1 < n) x.row(i + 1).segment(width, width) = x.row(i).head(width);
        }
        return 8 * x;
    }

    Matrix query_weight_, key_weight_;  ///< 3 width × width
};

}  // namespace browser

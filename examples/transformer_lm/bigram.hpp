#pragma once

#include "text.hpp"

#include <cmath>
#include <limits>

/// What the model has to beat: guessing each character from the one before it.
namespace transformer_lm {

/// p(b | a) = (n(a, b) + s p(b)) / (n(a) + s), where p(b) = (n(b) + t / alphabet) / (n + t), counted in the training
/// text. It is given every advantage: the smoothings s and t are the best ones for the held-out text itself.
/// Returns the held-out loss in bits per character.
inline double bigram_loss(const Corpus& corpus) {
    const Index size = corpus.alphabet_size();
    Eigen::MatrixXd pairs = Eigen::MatrixXd::Zero(size, size);
    Eigen::VectorXd singles = Eigen::VectorXd::Zero(size);
    for (const Corpus::Part& part : corpus.training()) {
        for (Index place = part.begin; place < part.end; ++place) {
            singles[corpus.token(place)] += 1;
            if (place > part.begin) pairs(corpus.token(place - 1), corpus.token(place)) += 1;
        }
    }
    const Eigen::VectorXd before = pairs.rowwise().sum();

    double best = std::numeric_limits<double>::infinity();
    for (double t = 0.25; t < 300; t *= 1.5) {
        const Eigen::VectorXd unigram = (singles.array() + t / static_cast<double>(size)) / (singles.sum() + t);
        for (double s = 0.25; s < 300; s *= 1.5) {
            double bits = 0;
            for (const Corpus::Part& part : corpus.held_out()) {
                for (Index place = part.begin; place < part.end; ++place) {
                    const Index a = corpus.token(place - 1), b = corpus.token(place);
                    bits -= std::log2((pairs(a, b) + s * unigram[b]) / (before[a] + s));
                }
            }
            best = std::min(best, bits / static_cast<double>(corpus.held_out_size()));
        }
    }
    return best;
}

}  // namespace transformer_lm

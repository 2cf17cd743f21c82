#pragma once

#include "../support/finite.hpp"
#include "model.hpp"

namespace transformer_lm {

/// A character, drawn with probability p^(1 / temperature): below 1 the likelier ones win more often. Throws NotFinite
/// where these are no probabilities.
template <class LogProbabilities>
Index drawn_from(const LogProbabilities& log_probabilities, double temperature, Random& random) {
    if (!log_probabilities.allFinite())
        throw NotFinite("the probabilities of the next character are not finite: the weights are of no use");
    const Eigen::VectorXd sharpened = log_probabilities.template cast<double>().transpose() / temperature;
    const Eigen::VectorXd p = (sharpened.array() - sharpened.maxCoeff()).exp();
    double left = p.sum() * 0.5 * (1 + random.symmetric(1.0));
    Index drawn = 0;
    while (drawn + 1 < p.size() && left >= p[drawn]) left -= p[drawn++];
    return drawn;
}

/// Goes on from `prompt` by `length` characters, each drawn by what the latest `context` ones make of it, and calls
/// `write` with each as it is drawn. (../generate does without computing all of these anew for each character.)
template <class T, class A, class Write>
void sample(const LanguageModel<T, A>& model, const Corpus& corpus, Index context, Tokens text, int length,
            double temperature, std::uint64_t seed, const Write& write) {
    Random random(seed);
    typename LanguageModel<T, A>::Tape tape;
    for (int i = 0; i < length; ++i) {
        Batch batch;
        const std::size_t seen = std::min(text.size(), static_cast<std::size_t>(context));
        batch.inputs.assign(text.end() - static_cast<std::ptrdiff_t>(seen), text.end());
        batch.offsets.push_back(batch.rows());
        model.forward(batch, Dropout(), tape);
        text.push_back(drawn_from(tape.log_probabilities.row(batch.rows() - 1), temperature, random));
        write(corpus.character(text.back()));
    }
}

}  // namespace transformer_lm

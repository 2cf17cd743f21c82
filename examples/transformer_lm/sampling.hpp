#pragma once

#include "../support/finite.hpp"
#include "model.hpp"

namespace transformer_lm {

/// Goes on from `prompt` by `length` characters, each drawn with probability p^(1 / temperature): below 1 the likelier
/// ones win more often. Calls `write` with each character as it is drawn. Throws NotFinite where the model gives no
/// probabilities.
template <class A, class Write>
void sample(const LanguageModel<float, A>& model, const Corpus& corpus, Index context, Tokens text, int length,
            double temperature, std::uint64_t seed, const Write& write) {
    Random random(seed);
    typename LanguageModel<float, A>::Tape tape;
    for (int i = 0; i < length; ++i) {
        Batch batch;
        const std::size_t seen = std::min(text.size(), static_cast<std::size_t>(context));
        batch.inputs.assign(text.end() - static_cast<std::ptrdiff_t>(seen), text.end());
        batch.offsets.push_back(batch.rows());
        model.forward(batch, Dropout(), tape);

        const auto next = tape.log_probabilities.row(batch.rows() - 1);
        if (!next.allFinite())
            throw NotFinite("the probabilities of the next character are not finite: the weights are of no use");
        const Eigen::VectorXd sharpened = next.template cast<double>().transpose() / temperature;
        const Eigen::VectorXd p = (sharpened.array() - sharpened.maxCoeff()).exp();
        double left = p.sum() * 0.5 * (1 + random.symmetric(1.0));
        Index drawn = 0;
        while (drawn + 1 < p.size() && left >= p[drawn]) left -= p[drawn++];
        text.push_back(drawn);
        write(corpus.character(drawn));
    }
}

}  // namespace transformer_lm

#pragma once

#include "../support/finite.hpp"
#include "model.hpp"

namespace translate_dates {

struct Translation {
    std::string text;
    std::string answer;      // "1979-05-03" or `no_date`, if the model has learnt its trade
    double probability = 0;  // of the whole answer, as the model sees it
    Rows<float> weights;     // (answer x text) how much each character of the answer looked at each of the text
};

/// Writes the most probable character, ten times. The network that writes sees only what stands before, so the same
/// forward pass that trains also translates: what follows the current place may as well be anything.
/// Throws NotFinite where the model gives no probabilities.
inline Translation translate(const Translator<float>& model, const std::string& text) {
    Translation result{text, std::string(static_cast<std::size_t>(answer_length), output_alphabet[0]), 1.0, {}};
    Translator<float>::Tape tape;
    for (Index t = 0; t < answer_length; ++t) {
        model.forward(Batch({{text, result.answer}}), tape, &result.weights);
        if (!tape.log_probabilities.row(t).allFinite())
            throw NotFinite("the probabilities of \"" + text + "\" are not finite: the weights are of no use");
        Index best = 0;
        result.probability *= std::exp(static_cast<double>(tape.log_probabilities.row(t).maxCoeff(&best)));
        result.answer[static_cast<std::size_t>(t)] = output_alphabet[static_cast<std::size_t>(best)];
    }
    return result;
}

}  // namespace translate_dates

#pragma once

#include "training.hpp"

#include <numeric>

namespace translate_dates {

/// The share of examples whose whole answer is right. Writing from left to right, always the most probable character,
/// gives the right answer exactly if each character is the most probable one after the right characters before it; so
/// one forward pass over the right answers decides.
inline double exact_match(const Translator<float>& model, const std::vector<Example>& examples, int threads) {
    constexpr std::size_t batch_size = 50;
    const std::size_t batches = (examples.size() + batch_size - 1) / batch_size;
    std::vector<int> right(batches, 0);
    Threads{threads}.parallel_for(static_cast<Index>(batches), [&](Index b) {
        const auto first = examples.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(b) * batch_size);
        const auto left = static_cast<std::size_t>(examples.end() - first);
        const Batch batch({first, first + static_cast<std::ptrdiff_t>(std::min(left, batch_size))});
        Translator<float>::Tape tape;
        model.forward(batch, tape);
        for (Index s = 0; s < batch.size(); ++s) {
            bool all_right = true;
            for (Index row = s * answer_length; row < (s + 1) * answer_length; ++row) {
                Index best = 0;
                tape.log_probabilities.row(row).maxCoeff(&best);
                all_right = all_right && best == batch.answers[static_cast<std::size_t>(row)];
            }
            right[static_cast<std::size_t>(b)] += all_right;
        }
    });
    return std::accumulate(right.begin(), right.end(), 0.0) / static_cast<double>(examples.size());
}

template <class Draw>
std::vector<Example> draw(std::size_t count, std::uint64_t seed, const Draw& one) {
    Random random(seed);
    std::vector<Example> examples(count);
    for (Example& example : examples) example = one(random);
    return examples;
}

}  // namespace translate_dates

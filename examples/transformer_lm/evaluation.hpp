#pragma once

#include "../support/cross_entropy.hpp"
#include "../support/threads.hpp"
#include "model.hpp"

#include <numbers>
#include <numeric>

namespace transformer_lm {

/// The model's loss on batches, in bits per counted character.
template <class T, class A>
double loss_of(const LanguageModel<T, A>& model, const std::vector<Batch>& batches, int threads) {
    std::vector<double> nats(batches.size(), 0), counted(batches.size(), 0);
    Threads{threads}.parallel_for(static_cast<Index>(batches.size()), [&](Index i) {
        const auto place = static_cast<std::size_t>(i);
        typename LanguageModel<T, A>::Tape tape;
        Rows<attend::Compute<T>> unused;
        model.forward(batches[place], Dropout(), tape);
        nats[place] = static_cast<double>(
            cross_entropy(batches[place].targets, tape.log_probabilities, attend::Compute<T>(1), unused));
        counted[place] = static_cast<double>(batches[place].counted);
    });
    return std::accumulate(nats.begin(), nats.end(), 0.0) / std::accumulate(counted.begin(), counted.end(), 0.0) /
           std::numbers::ln2;
}

}  // namespace transformer_lm

#pragma once

#include "../transformer_lm/sampling.hpp"

#include <chrono>

/// Two ways to what a model says of the next character, of which one computes each character once.
namespace generate {

using namespace transformer_lm;

/// No character looks back further than the windows were long that the model learnt from, so that it is at home in a
/// text of any length. The weights are those of `scaled_dot_product >> causal`, which such windows cannot tell from it.
inline auto within(Index context) {
    return attend::scaled_dot_product >> (attend::causal & attend::sliding_window(context));
}
using Model = LanguageModel<float, decltype(within(1))>;

/// Each block keeps the keys and values of what has been, in memory taken at once: a character costs a step, however
/// long the text before it is.
class Cached {
public:
    Cached(const Model& model, Index capacity) : model_(model), caches_(model.caches(capacity)) {}

    /// The log-probabilities of what comes behind the next characters. Of a prompt all come at once.
    auto after(const Tokens& next) {
        model_.step(next, caches_, tape_);
        return tape_.log_probabilities.bottomRows<1>();
    }

private:
    const Model& model_;
    std::vector<attend::KvCache<float>> caches_;
    Model::Tape tape_;
};

/// Keeps nothing but the text, and computes all of it anew.
class Uncached {
public:
    explicit Uncached(const Model& model) : model_(model) {}

    auto after(const Tokens& next) {
        text_.inputs.insert(text_.inputs.end(), next.begin(), next.end());
        text_.offsets = {0, text_.rows()};
        model_.forward(text_, Dropout(), tape_);
        return tape_.log_probabilities.bottomRows<1>();
    }

private:
    const Model& model_;
    Batch text_;
    Model::Tape tape_;
};

/// A text that was gone on with, and for each new character how likely all were and how long it took.
struct Written {
    Tokens text;
    Rows<float> log_probabilities;
    std::vector<double> seconds;
};

/// Goes on from a prompt by `length` characters. What is drawn depends on the seed and the probabilities alone.
template <class Continuation, class Show>
Written write(Continuation&& continuation, const Tokens& prompt, int length, double temperature, std::uint64_t seed,
              const Show& show) {
    using Clock = std::chrono::steady_clock;
    Random random(seed);
    Written written;
    Tokens next = prompt;
    for (int i = 0; i < length; ++i) {
        const Clock::time_point start = Clock::now();
        const RowVector<float> likely = continuation.after(next);
        written.seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
        if (i == 0) written.log_probabilities.resize(length, likely.cols());
        written.log_probabilities.row(i) = likely;
        next.assign(1, drawn_from(likely, temperature, random));
        written.text.push_back(next.front());
        show(next.front());
    }
    return written;
}

}  // namespace generate

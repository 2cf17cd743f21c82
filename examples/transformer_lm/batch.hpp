#pragma once

#include "../support/cross_entropy.hpp"
#include "../support/random.hpp"
#include "text.hpp"

#include <attend/core/options.hpp>

namespace transformer_lm {

/// Windows of the text, of any lengths, stacked one character a row with nothing padded. Row i holds inputs[i], and the
/// model predicts targets[i], the character behind it.
class Batch {
public:
    /// The window's characters are `window.begin` to `window.end`; those from `first_counted` on are to be predicted.
    void append(const Corpus& corpus, Corpus::Part window, Index first_counted) {
        for (Index place = window.begin; place + 1 < window.end; ++place) {
            inputs.push_back(corpus.token(place));
            targets.push_back(place + 1 < first_counted ? uncounted : corpus.token(place + 1));
            counted += targets.back() != uncounted;
        }
        offsets.push_back(static_cast<Index>(inputs.size()));
    }
    void clear() {
        inputs.clear(), targets.clear(), offsets.resize(1);
        counted = 0;
    }

    Index rows() const { return static_cast<Index>(inputs.size()); }
    attend::Sequences sequences() const { return attend::sequences(offsets); }

    Tokens inputs, targets;
    Index counted = 0;
    std::vector<Index> offsets{0};
};

/// A window of `context` predictions from a random place of the training text. It is drawn as if a part of the text
/// went on beyond its ends and then cut to it, so that every character is predicted as often as any other.
inline Corpus::Part draw_window(const Corpus& corpus, Index context, Random& random) {
    const auto places_of = [&](const Corpus::Part& part) { return part.size() - 1 + context - 1; };
    Index places = 0;
    for (const Corpus::Part& part : corpus.training()) places += places_of(part);
    Index place = random.below(static_cast<int>(places));
    auto part = corpus.training().begin();
    for (; place >= places_of(*part); ++part) place -= places_of(*part);
    const Index begin = part->begin + place - (context - 1);
    return {std::max(begin, part->begin), std::min(begin + context + 1, part->end)};
}

/// Fills a batch with such windows until it has that many rows: always as many, so that whatever is computed of it fits
/// where the last one's was, and nothing is allocated anew.
inline void draw(Batch& batch, const Corpus& corpus, Index context, Index rows, Random& random) {
    batch.clear();
    while (batch.rows() < rows) {
        Corpus::Part window = draw_window(corpus, context, random);
        window.end = std::min(window.end, window.begin + rows - batch.rows() + 1);
        batch.append(corpus, window, window.begin);
    }
}

/// The held-out text in batches: each character is predicted once, from at least half a context before it.
inline std::vector<Batch> held_out_batches(const Corpus& corpus, Index context) {
    constexpr std::size_t windows = 8;
    const Index stride = std::max<Index>(1, context / 2);
    std::vector<Batch> batches;
    for (const Corpus::Part& part : corpus.held_out()) {
        for (Index first = part.begin; first < part.end; first += stride) {
            const Index end = std::min(first + stride, part.end);
            if (batches.empty() || batches.back().offsets.size() > windows) batches.emplace_back();
            batches.back().append(corpus, {std::max<Index>(0, end - 1 - context), end}, first);
        }
    }
    return batches;
}

}  // namespace transformer_lm

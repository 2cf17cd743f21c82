#pragma once

#include "dates.hpp"

#include <algorithm>

namespace translate_dates {

/// In which row of a stack each sentence's t-th step lies: order[t][s]. Sentences stand longest first, so the ones
/// that still run at step t are always the first order[t].size() of them.
using Order = std::vector<std::vector<Index>>;

/// Sentences of any lengths, stacked one character a row, with nothing padded: `offsets` says where each begins.
struct Batch {
    explicit Batch(std::vector<Example> sentences) : examples(std::move(sentences)) {
        std::stable_sort(examples.begin(), examples.end(),
                         [](const Example& a, const Example& b) { return a.text.size() > b.text.size(); });
        forwards.resize(examples.empty() ? 0 : examples.front().text.size());
        backwards.resize(forwards.size());
        along_answer.resize(static_cast<std::size_t>(answer_length));
        for (const Example& example : examples) append(example);
    }

    Index size() const { return static_cast<Index>(examples.size()); }

    std::vector<Example> examples;

    Tokens characters;              // of all texts
    std::vector<Index> offsets{0};  // text s: rows offsets[s] up to offsets[s + 1]
    Order forwards, backwards;      // the two ways to read the texts

    Tokens answers;         // of all answers, each answer_length long
    Tokens written_before;  // the character before each of `answers`
    std::vector<Index> answer_offsets{0};
    Order along_answer;

private:
    void append(const Example& example) {
        const Index first = offsets.back();
        const Index length = static_cast<Index>(example.text.size());
        for (Index t = 0; t < length; ++t) {
            characters.push_back(token_of(lower_case(example.text[static_cast<std::size_t>(t)]), input_alphabet));
            forwards[static_cast<std::size_t>(t)].push_back(first + t);
            backwards[static_cast<std::size_t>(t)].push_back(first + length - 1 - t);
        }
        offsets.push_back(first + length);

        Index before = start_token;
        for (std::size_t t = 0; t < static_cast<std::size_t>(answer_length); ++t) {
            along_answer[t].push_back(answer_offsets.back() + static_cast<Index>(t));
            written_before.push_back(before);
            before = token_of(example.answer[t], output_alphabet);
            answers.push_back(before);
        }
        answer_offsets.push_back(answer_offsets.back() + answer_length);
    }
};

}  // namespace translate_dates

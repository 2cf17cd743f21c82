#pragma once

#include "../support/layers.hpp"

#include <algorithm>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// Characters as numbers, and which of them are held out.
namespace transformer_lm {

/// What both examples need: optimiser, layers, weights file, terminal, ...
using namespace support;
using Index = Eigen::Index;
using Tokens = std::vector<Index>;

/// A text cut into characters, each whole where UTF-8 takes several bytes for it.
inline std::vector<std::string> characters_of(std::string_view text) {
    std::vector<std::string> characters;
    for (const char byte : text) {
        if ((static_cast<unsigned char>(byte) & 0xC0U) == 0x80U && !characters.empty())
            characters.back() += byte;
        else
            characters.emplace_back(1, byte);
    }
    return characters;
}

/// What tells one text from another (FNV-1a).
inline std::uint64_t fingerprint(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
    return hash;
}

/// A text of which every eighth block, or fewer of a long one, is held out: training never predicts it. Blocks from all
/// over the text, since its end may be about something else than its beginning.
class Corpus {
public:
    static constexpr Index block = 256;
    static constexpr Index least = 16 * block;  ///< the shortest text to learn from
    static constexpr Index most = 100'000'000;  ///< of which tokens take a gigabyte

    explicit Corpus(std::string_view text) {
        const std::vector<std::string> characters = characters_of(text);
        if (static_cast<Index>(characters.size()) < least)
            throw std::invalid_argument("a text of " + std::to_string(characters.size()) +
                                        " characters is too short to learn from: it takes " + std::to_string(least));
        if (static_cast<Index>(characters.size()) > most)
            throw std::invalid_argument("a text of " + std::to_string(characters.size()) +
                                        " characters is too long: it may have " + std::to_string(most));
        const std::set<std::string> different(characters.begin(), characters.end());
        alphabet_.assign(different.begin(), different.end());
        for (const std::string& character : characters) tokens_.push_back(token_of(character));
        hold_out();
    }

    const Tokens& tokens() const { return tokens_; }
    Index size() const { return static_cast<Index>(tokens_.size()); }
    Index token(Index place) const { return tokens_[static_cast<std::size_t>(place)]; }
    Index alphabet_size() const { return static_cast<Index>(alphabet_.size()); }
    const std::string& character(Index token) const { return alphabet_[static_cast<std::size_t>(token)]; }

    Index token_of(const std::string& character) const {
        const auto place = std::ranges::lower_bound(alphabet_, character);
        if (place == alphabet_.end() || *place != character)
            throw std::invalid_argument("\"" + character + "\" does not occur in the text that the model learnt from");
        return place - alphabet_.begin();
    }

    /// A part of the text: places begin ... end - 1.
    struct Part {
        Index begin, end;
        Index size() const { return end - begin; }
    };
    const std::vector<Part>& training() const { return training_; }
    const std::vector<Part>& held_out() const { return held_out_; }
    /// A line's length out of the middle of the held-out text, to look at.
    Part specimen() const {
        const Index begin = held_out_[held_out_.size() / 2].begin;
        return {begin, begin + 32};
    }
    Index held_out_size() const {
        Index size = 0;
        for (const Part& part : held_out_) size += part.size();
        return size;
    }

private:
    void hold_out() {
        constexpr Index most_blocks = 32;  // more would make each look at them longer and hardly surer
        const Index blocks = size() / block;
        const Index every = std::max<Index>(8, blocks / most_blocks);
        Index begin = 0;
        for (Index i = every / 2; i < blocks; i += every) {
            training_.push_back({begin, i * block});
            held_out_.push_back({i * block, (i + 1) * block});
            begin = (i + 1) * block;
        }
        if (begin < size()) training_.push_back({begin, size()});
    }

    std::vector<std::string> alphabet_;
    Tokens tokens_;
    std::vector<Part> training_, held_out_;
};

}  // namespace transformer_lm

#pragma once

#include "batch.hpp"
#include "block.hpp"

#include <optional>

namespace transformer_lm {

struct ModelSizes {
    int layers = 3;
    int width = 96;
    int heads = 4;
    int context = 128;  ///< how many characters a window of training holds
};

/// A decoder-only Transformer over characters: embedding, blocks, a last norm, and a linear map to how likely each
/// character is next. (The embedding's own weights there, tied, were tried: worse by 0.07 bits, as a character's first
/// guess is then itself.)
///
/// Blocks compute in numbers of T. Of 16-bit ones everything between blocks is float, and so are the gradients of all
/// parameters.
template <class T, class A>
class LanguageModel {
public:
    using Scalar = T;
    using C = attend::Compute<T>;

    struct Tape {
        std::vector<typename Block<T, A>::Tape> blocks;
        typename Block<T, A>::Scratch scratch;
        Rows<C> dropped_embedding;
        Rows<C> x;  // what goes from block to block
        typename RmsNorm<C>::Tape last_norm;
        Rows<T> normed;                     // (rows x width)
        Rows<C> logits, log_probabilities;  // (rows x alphabet)
        Rows<C> dx;
        Rows<T> dnormed;
    };

    /// `rope`: whether queries and keys are turned by their positions; otherwise only the attention knows of positions.
    LanguageModel(Index alphabet, const ModelSizes& sizes, const A& attention, bool rope, std::uint64_t seed)
        : LanguageModel(alphabet, sizes, attention, rope, Random(seed)) {}

    /// The log-probability of every character behind every row of the batch. `weights`, where given, gets those of the
    /// attention, a matrix a block, with the heads below each other; the batch must then hold a single window.
    void forward(const Batch& batch, Dropout dropout, Tape& tape, std::vector<Rows<C>>* weights = nullptr) const {
        const attend::Sequences sequences = batch.sequences();
        embed(batch.inputs, tape);
        dropout.forward(tape.x, tape.dropped_embedding);
        tape.blocks.resize(blocks.size());
        if (weights != nullptr) weights->assign(blocks.size(), {});
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            attend::Output<C> seen;
            if (weights != nullptr) seen = (*weights)[i];
            blocks[i].forward(tape.x, sequences, dropout, tape.blocks[i], tape.scratch, seen);
        }
        read_out(tape);
    }

    /// The same of the next characters of one text, given what the caches, one a block, hold of those before.
    void step(const Tokens& next, std::vector<attend::KvCache<C>>& caches, Tape& tape) const {
        embed(next, tape);
        tape.blocks.resize(blocks.size());
        for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i].step(tape.x, caches[i], tape.blocks[i], tape.scratch);
        read_out(tape);
    }
    /// Caches of a text of at most that many characters.
    std::vector<attend::KvCache<C>> caches(Index capacity) const {
        return std::vector(blocks.size(), blocks.front().attention.cache({.capacity = capacity}));
    }

    /// Adds the gradients of the parameters, given those of the log-probabilities.
    void backward(const Batch& batch, Tape& tape, const Rows<C>& dlog_probabilities,
                  LanguageModel<C, A>& gradient) const {
        const Rows<C> dlogits = attend::log_softmax.backward(tape.log_probabilities, dlog_probabilities);
        Rows<C>& dx = tape.dx;
        readout.backward(tape.normed, dlogits, gradient.readout, tape.dnormed);
        dx.setZero(tape.x.rows(), tape.x.cols());
        last_norm.backward(tape.last_norm, tape.dnormed, gradient.last_norm, dx);
        for (std::size_t i = blocks.size(); i-- > 0;)
            blocks[i].backward(dx, tape.blocks[i], tape.scratch, gradient.blocks[i]);
        Dropout::backward(dx, tape.dropped_embedding);
        for (Index row = 0; row < dx.rows(); ++row)
            gradient.embedding.row(batch.inputs[static_cast<std::size_t>(row)]) += dx.row(row);
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("embedding", self.embedding);
        for (std::size_t i = 0; i < self.blocks.size(); ++i) visit("blocks." + std::to_string(i), self.blocks[i]);
        visit("last_norm", self.last_norm);
        visit("readout", self.readout);
    }

    Rows<C> embedding;  // (alphabet x width)
    std::vector<Block<T, A>> blocks;
    RmsNorm<C> last_norm;
    Linear<T> readout;

private:
    void embed(const Tokens& inputs, Tape& tape) const {
        tape.x.resize(static_cast<Index>(inputs.size()), embedding.cols());
        for (Index row = 0; row < tape.x.rows(); ++row)
            tape.x.row(row) = embedding.row(inputs[static_cast<std::size_t>(row)]);
    }
    void read_out(Tape& tape) const {
        last_norm.forward(tape.x, tape.last_norm, tape.normed);
        readout.forward(tape.normed, tape.logits);
        tape.log_probabilities.resizeLike(tape.logits);
        attend::log_softmax(tape.logits, tape.log_probabilities);
    }

    LanguageModel(Index alphabet, const ModelSizes& sizes, const A& attention, bool rope, Random random)
        : embedding(random_weight<C>(alphabet, sizes.width, random)),
          last_norm(sizes.width),
          readout(sizes.width, alphabet, random) {
        attend::MultiHeadShape shape{.d_model = sizes.width, .heads = sizes.heads};
        if (rope) shape.rope.emplace();
        for (int i = 0; i < sizes.layers; ++i) {
            blocks.emplace_back(shape, 4 * sizes.width, attention, random.bits(), random);
            // What all blocks add up to is of the same size however many they are (Radford et al. 2019).
            const T part(C(1) / std::sqrt(static_cast<C>(2 * sizes.layers)));
            blocks.back().attention.output_weight *= part;
            blocks.back().mlp.down.weight *= part;
        }
    }
};

}  // namespace transformer_lm

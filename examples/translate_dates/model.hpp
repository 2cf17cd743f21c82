#pragma once

#include "gru.hpp"

#include <attend/attend.hpp>

namespace translate_dates {

struct ModelSizes {
    Index encoder = 64;  // of each of its two directions
    Index decoder = 64;
    Index attention = 32;
};

/// Bahdanau et al. 2014 in small: one recurrent network reads the text both ways, another writes the answer, and
/// additive attention is the only path between them. The decoder starts from 0, so whatever it knows of the text it
/// looked at.
template <class T>
class Translator {
public:
    using Vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;

    /// All that a forward pass computes, kept for the backward pass and used again by the next batch.
    struct Tape {
        typename Gru<T>::Tape forwards, backwards, decoder;
        Rows<T> memory;             // (characters x 2 encoder) what was read
        Rows<T> states;             // (answers x decoder) what was written
        Rows<T> context;            // (answers x 2 encoder) what was looked at
        Vector lse;                 // of the attention, for its backward pass
        Rows<T> joined;             // [states, context]
        Rows<T> log_probabilities;  // (answers x output alphabet)
        attend::Workspace workspace;
    };

    Translator(ModelSizes sizes, std::uint64_t seed) : Translator(sizes, seed, Random(seed)) {}

    /// The log-probability of every output character at every place of the batch's answers, given the answer before it.
    /// `weights`, where asked for, are those of the attention; the batch must then hold a single sentence.
    void forward(const Batch& batch, Tape& tape, Rows<T>* weights = nullptr) const {
        const Index n = encoder_forwards.hidden();
        tape.memory.resize(batch.offsets.back(), 2 * n);
        tape.states.resize(batch.answer_offsets.back(), decoder.hidden());
        encoder_forwards.forward(batch.characters, batch.forwards, tape.forwards, tape.memory.leftCols(n));
        encoder_backwards.forward(batch.characters, batch.backwards, tape.backwards, tape.memory.rightCols(n));
        decoder.forward(batch.written_before, batch.along_answer, tape.decoder, tape.states);

        tape.context.resize(tape.states.rows(), 2 * n);
        tape.lse.resize(tape.states.rows());
        if (weights) {
            weights->resize(tape.states.rows(), tape.memory.rows());
            attention(tape.states, tape.memory, tape.memory, tape.context,
                      {.workspace = &tape.workspace, .lse = tape.lse, .weights = *weights});
        } else {
            attention(tape.states, tape.memory, tape.memory, tape.context,
                      {.workspace = &tape.workspace,
                       .lse = tape.lse,
                       .sequences = attend::sequences(batch.answer_offsets),
                       .key_sequences = attend::sequences(batch.offsets)});
        }

        tape.joined.resize(tape.states.rows(), decoder.hidden() + 2 * n);
        tape.joined << tape.states, tape.context;
        tape.log_probabilities = attend::log_softmax(readout(tape.joined));
    }

    /// Adds the gradients of the parameters, given those of the log-probabilities.
    void backward(const Batch& batch, Tape& tape, const Rows<T>& dlog_probabilities, Translator& gradient) const {
        const Index n = encoder_forwards.hidden();
        const Rows<T> dlogits = attend::log_softmax.backward(tape.log_probabilities, dlog_probabilities);
        const Rows<T> djoined = readout.backward(tape.joined, dlogits, gradient.readout);

        Rows<T> dstates = djoined.leftCols(decoder.hidden());
        Rows<T> dmemory, dvalues;
        attention.backward(tape.states, tape.memory, tape.memory, tape.context, tape.lse, djoined.rightCols(2 * n),
                           dstates, dmemory, dvalues,
                           {.workspace = &tape.workspace,
                            .gradient = &gradient.attention,
                            .sequences = attend::sequences(batch.answer_offsets),
                            .key_sequences = attend::sequences(batch.offsets)});
        dmemory += dvalues;  // the memory is keys and values at once

        decoder.backward(batch.written_before, batch.along_answer, tape.decoder, dstates, gradient.decoder);
        encoder_forwards.backward(batch.characters, batch.forwards, tape.forwards, dmemory.leftCols(n),
                                  gradient.encoder_forwards);
        encoder_backwards.backward(batch.characters, batch.backwards, tape.backwards, dmemory.rightCols(n),
                                   gradient.encoder_backwards);
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("encoder_forwards", self.encoder_forwards);
        visit("encoder_backwards", self.encoder_backwards);
        visit("decoder", self.decoder);
        visit("attention", self.attention);
        visit("readout", self.readout);
    }

    Gru<T> encoder_forwards, encoder_backwards, decoder;
    attend::AdditiveAttention<T> attention;
    Linear<T> readout;

private:
    Translator(ModelSizes sizes, std::uint64_t seed, Random random)
        : encoder_forwards(static_cast<Index>(input_alphabet.size()), sizes.encoder, random),
          encoder_backwards(static_cast<Index>(input_alphabet.size()), sizes.encoder, random),
          decoder(start_token + 1, sizes.decoder, random),
          attention(sizes.decoder, 2 * sizes.encoder, sizes.attention, seed),
          readout(sizes.decoder + 2 * sizes.encoder, static_cast<Index>(output_alphabet.size()), random) {}
};

}  // namespace translate_dates

#pragma once

#include "../support/perceptron.hpp"
#include "scenes.hpp"

namespace multimodal {

using support::Linear, support::Perceptron;

/// Words that look at a picture:
///
///     p = perceptron(patch)
///     w = embedding(word), w += attention(w, p)     each word looks at the picture: cross-attention
///     log-probabilities = perceptron(sum of w)
struct Model {
    using Attention = attend::MultiHeadAttention<float>;
    static constexpr Index width = 48, heads = 4;

    struct Tape {
        Rows<float> p, w, seen, pool, sum, log_p;
        Rows<float> dsum, dseen, dw, dp, dx;
        attend::Workspace workspace;
        Perceptron<float>::Tape embed, answer;
        Attention::Tape cross;
    };

    explicit Model(Random random)
        : embed(patch * patch * channels, 64, width, random),
          embedding(support::random_weight<float>(words.size(), width, random)),
          cross({.d_model = width, .heads = heads, .qk_norm = attend::RmsNorm{}}, attend::scaled_dot_product,
                random.bits()),
          answer(width, 64, answers, random) {}

    /// `weights`, where given, gets those of the words: (heads · words) × patches, of a single scene.
    template <class Batch>
    void forward(const Batch& batch, Tape& tape, attend::Output<float> weights = {}) const {
        const attend::Sequences pictures(batch.picture_begins), texts(batch.text_begins);
        embed.forward(batch.tokens, tape.embed, tape.p);
        tape.w = embedding(batch.text, Eigen::all);
        tape.seen.resizeLike(tape.w);
        cross.forward(tape.w, tape.p, tape.seen,
                      {.workspace = &tape.workspace,
                       .tape = &tape.cross,
                       .weights = weights,
                       .sequences = texts,
                       .key_sequences = pictures});
        tape.seen += tape.w;

        tape.pool.setZero(static_cast<Index>(batch.labels.size()), tape.w.rows());
        for (std::size_t i = 0; i < batch.labels.size(); ++i)
            for (Index w = batch.text_begins[i]; w < batch.text_begins[i + 1]; ++w)
                tape.pool(static_cast<Index>(i), w) = 1;
        tape.sum = tape.pool * tape.seen;
        answer.forward(tape.sum, tape.answer, tape.log_p);
        attend::log_softmax(tape.log_p, tape.log_p);
    }
    template <class Batch>
    void backward(const Batch& batch, Tape& tape, const Rows<float>& dlog_p, Model& gradient) const {
        const Rows<float> dlogits = attend::log_softmax.backward(tape.log_p, dlog_p);
        answer.backward(tape.sum, tape.answer, dlogits, gradient.answer, tape.dsum);
        tape.dseen = tape.pool.transpose() * tape.dsum;
        tape.dw = tape.dseen, tape.dp.setZero(tape.p.rows(), width);
        cross.backward(tape.cross, tape.dseen, tape.dw, tape.dp,
                       {.workspace = &tape.workspace, .gradient = &gradient.cross});
        for (std::size_t i = 0; i < batch.text.size(); ++i)
            gradient.embedding.row(batch.text[i]) += tape.dw.row(static_cast<Index>(i));
        embed.backward(batch.tokens, tape.embed, tape.dp, gradient.embed, tape.dx);
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("embed", self.embed);
        visit("embedding", self.embedding);
        visit("cross", self.cross);
        visit("answer", self.answer);
    }

    Perceptron<float> embed;
    Rows<float> embedding;
    Attention cross;
    Perceptron<float> answer;
};

}  // namespace multimodal

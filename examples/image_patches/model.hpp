#pragma once

#include "../support/perceptron.hpp"
#include "pictures.hpp"

namespace image_patches {

using support::Linear, support::Perceptron;

/// A small vision transformer (Dosovitskiy et al. 2020):
///
///     h = perceptron(patch)                  each patch by itself
///     h += attention(h)                      patches look at each other, and know where they are by RoPE in 2-D
///     c = attention(class token, h)          the class token looks for what decides
///     log-probabilities = linear(c)
struct Model {
    using Attention = attend::MultiHeadAttention<float>;
    static constexpr Index width = 32;

    struct Tape {
        Rows<float> h, mixed, token, seen, log_p;
        Rows<float> dseen, dtoken, dh, dx;
        attend::Workspace workspace;
        Perceptron<float>::Tape embed;
        Attention::Tape mix, look;
    };

    explicit Model(Random random)
        : embed(patch * patch, 64, width, random),
          mix({.d_model = width, .heads = 4, .rope = attend::Rope{.positions = attend::grid_positions(grid, grid)}},
              attend::scaled_dot_product, random.bits()),
          class_token(support::random_weight<float>(1, width, random)),
          look({.d_model = width, .heads = 1}, attend::scaled_dot_product, random.bits()),
          readout(width, 3, random) {}

    /// `weights` gets those of the class token: pictures × all patches, 0 where a patch is of another picture.
    void forward(const Batch& batch, Tape& tape, attend::Output<float> weights = {}) const {
        const attend::Sequences pictures(batch.begins), classes(batch.class_begins);
        embed.forward(batch.tokens, tape.embed, tape.h);
        tape.mixed.resizeLike(tape.h);
        mix.forward(tape.h, tape.mixed, {.workspace = &tape.workspace, .tape = &tape.mix, .sequences = pictures});
        tape.mixed += tape.h;
        tape.token = class_token.replicate(static_cast<Index>(batch.labels.size()), 1);
        tape.seen.resizeLike(tape.token);
        look.forward(tape.token, tape.mixed, tape.seen,
                     {.workspace = &tape.workspace,
                      .tape = &tape.look,
                      .weights = weights,
                      .sequences = classes,
                      .key_sequences = pictures});
        readout.forward(tape.seen, tape.log_p);
        attend::log_softmax(tape.log_p, tape.log_p);
    }
    void backward(const Batch& batch, Tape& tape, const Rows<float>& dlog_p, Model& gradient) const {
        const Rows<float> dlogits = attend::log_softmax.backward(tape.log_p, dlog_p);
        readout.backward(tape.seen, dlogits, gradient.readout, tape.dseen);
        tape.dtoken.setZero(tape.token.rows(), width), tape.dh.setZero(tape.h.rows(), width);
        look.backward(tape.look, tape.dseen, tape.dtoken, tape.dh,
                      {.workspace = &tape.workspace, .gradient = &gradient.look});
        gradient.class_token += tape.dtoken.colwise().sum();
        mix.backward(tape.mix, tape.dh, tape.dh, {.workspace = &tape.workspace, .gradient = &gradient.mix});
        embed.backward(batch.tokens, tape.embed, tape.dh, gradient.embed, tape.dx);
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("embed", self.embed);
        visit("mix", self.mix);
        visit("class_token", self.class_token);
        visit("look", self.look);
        visit("readout", self.readout);
    }

    Perceptron<float> embed;
    Attention mix;
    Rows<float> class_token;
    Attention look;
    Linear<float> readout;
};

}  // namespace image_patches

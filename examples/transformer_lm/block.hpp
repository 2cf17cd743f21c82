#pragma once

#include "dropout.hpp"
#include "mlp.hpp"
#include "norm.hpp"

#include <attend/attend.hpp>

namespace transformer_lm {

/// A block of a pre-norm Transformer (Xiong et al. 2020):
///
///     x += dropout(attention(norm(x)))
///     x += dropout(mlp(norm(x)))
///
/// for any attention A. Whatever is composed there trains: `MultiHeadAttention::backward` takes its gradients back
/// through the composition. What T's attention and MLP read, hold and give are numbers of T; of 16-bit ones x, the
/// norms and all gradients of parameters are float.
template <class T, class A>
struct Block {
    using C = attend::Compute<T>;
    using MultiHead = attend::MultiHeadAttention<T, A>;

    /// All that a forward pass computes, kept for the backward pass and used again by the next batch.
    struct Tape {
        typename RmsNorm<C>::Tape norm_before_attention, norm_before_mlp;
        typename MultiHead::Tape attention;
        typename Mlp<T>::Tape mlp;
        Rows<T> normed_for_mlp;
        Rows<C> dropped_attention, dropped_mlp;
    };
    /// What blocks need while they run and nobody afterwards: one for all of them.
    struct Scratch {
        attend::Workspace workspace;
        Rows<T> normed, change, dnormed;
    };

    Block(const attend::MultiHeadShape& shape, Eigen::Index hidden, const A& attention_, std::uint64_t seed,
          support::Random& random)
        : norm_before_attention(shape.d_model),
          attention(shape, attention_, seed),
          norm_before_mlp(shape.d_model),
          mlp(shape.d_model, hidden, random) {}

    /// Changes x. `weights`, where given, gets those of the attention's heads, below each other.
    void forward(Rows<C>& x, const attend::Sequences& sequences, Dropout& dropout, Tape& tape, Scratch& scratch,
                 attend::Output<C> weights = {}) const {
        run(x, dropout, tape, scratch, [&](Rows<T>& attended) {
            attention.forward(
                scratch.normed, attended,
                {.workspace = &scratch.workspace, .tape = &tape.attention, .weights = weights, .sequences = sequences});
        });
    }

    /// The same of the next characters of a text, whose keys and values the cache keeps for those to come.
    void step(Rows<C>& x, attend::KvCache<C>& cache, Tape& tape, Scratch& scratch) const {
        Dropout none;
        run(x, none, tape, scratch, [&](Rows<T>& attended) {
            attention.step(scratch.normed, cache, attended, {.workspace = &scratch.workspace, .tape = &tape.attention});
        });
    }

    /// Makes of dx, the gradient of what came out, that of what came in, and adds the gradients of the parameters.
    void backward(Rows<C>& dx, Tape& tape, Scratch& scratch, Block<C, A>& gradient) const {
        scratch.change = dx.template cast<T>();
        Dropout::backward(scratch.change, tape.dropped_mlp);
        mlp.backward(tape.normed_for_mlp, tape.mlp, scratch.change, gradient.mlp, scratch.dnormed);
        norm_before_mlp.backward(tape.norm_before_mlp, scratch.dnormed, gradient.norm_before_mlp, dx);

        scratch.change = dx.template cast<T>();
        Dropout::backward(scratch.change, tape.dropped_attention);
        scratch.dnormed.setZero();
        attention.backward(tape.attention, scratch.change, scratch.dnormed,
                           {.workspace = &scratch.workspace, .gradient = &gradient.attention});
        norm_before_attention.backward(tape.norm_before_attention, scratch.dnormed, gradient.norm_before_attention, dx);
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("norm_before_attention", self.norm_before_attention);
        visit("attention", self.attention);
        visit("norm_before_mlp", self.norm_before_mlp);
        visit("mlp", self.mlp);
    }

    RmsNorm<C> norm_before_attention;
    MultiHead attention;
    RmsNorm<C> norm_before_mlp;
    Mlp<T> mlp;

private:
    /// `attend_to(attended)` writes what the attention makes of scratch.normed.
    template <class AttendTo>
    void run(Rows<C>& x, Dropout& dropout, Tape& tape, Scratch& scratch, const AttendTo& attend_to) const {
        norm_before_attention.forward(x, tape.norm_before_attention, scratch.normed);
        scratch.change.resize(x.rows(), x.cols());
        attend_to(scratch.change);
        dropout.forward(scratch.change, tape.dropped_attention);
        x += scratch.change.template cast<C>();

        norm_before_mlp.forward(x, tape.norm_before_mlp, tape.normed_for_mlp);
        mlp.forward(tape.normed_for_mlp, tape.mlp, scratch.change);
        dropout.forward(scratch.change, tape.dropped_mlp);
        x += scratch.change.template cast<C>();
    }
};

}  // namespace transformer_lm

#pragma once

#include "../support/perceptron.hpp"
#include "sounds.hpp"

#include <attend/attend.hpp>

namespace streaming_audio {

using attend::Index, support::Perceptron;

inline constexpr Index heads = 4, d_head = 16;
inline constexpr Index window = 128, sinks = 8;  ///< frames: a third of a second, and the room before anything happened

/// Each frame looks at the latest `frames`, by how long ago they were (a bias, learnt), and at the stream's first few.
inline auto hearing(Index frames) {
    return attend::scaled_dot_product >>
           attend::relative_bias(Rows<float>::Zero(32, heads), {.max_distance = window, .bidirectional = false}) >>
           (attend::causal & (attend::sliding_window(frames) | attend::prefix(sinks)));
}

/// h = x + attention(x); log-probabilities of the kinds = perceptron(h).
struct Model {
    using Attention = attend::MultiHeadAttention<float, decltype(hearing(0))>;

    struct Tape {
        Rows<float> h, log_p, dh;
        attend::Workspace workspace;
        Attention::Tape attention;
        Perceptron<float>::Tape answer;
    };

    Model(Index frames, Random random)
        : attention({.d_model = bands, .heads = heads, .d_head = d_head}, hearing(frames), random.bits()),
          answer(bands, 64, kinds, random) {}

    /// All frames at once, to learn; `weights`, where given, gets those of the frame `looking`, a row for each head.
    void forward(const Sounds& sounds, Tape& tape, attend::Output<float> weights = {},
                 const attend::QueryRows& looking = {}) const {
        tape.h.resizeLike(sounds.frames);
        attention.forward(
            sounds.frames, tape.h,
            {.workspace = &tape.workspace, .tape = &tape.attention, .weights = weights, .weight_rows = looking});
        tell(sounds.frames, tape);
    }
    /// The next frame of a stream: the same.
    void step(const Ear::Frame& x, attend::RingCache<float>& cache, Tape& tape) const {
        attention.step(x, cache, tape.h, {.workspace = &tape.workspace, .tape = &tape.attention});
        tell(x, tape);
    }
    void backward(const Sounds&, Tape& tape, const Rows<float>& dlog_p, Model& gradient) const {
        const Rows<float> dlogits = attend::log_softmax.backward(tape.log_p, dlog_p);
        answer.backward(tape.h, tape.answer, dlogits, gradient.answer, tape.dh);
        attention.backward(tape.attention, tape.dh, tape.dh,
                           {.workspace = &tape.workspace, .gradient = &gradient.attention});
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("attention", self.attention);
        visit("answer", self.answer);
    }

    Attention attention;
    Perceptron<float> answer;

private:
    template <class X>
    void tell(const X& x, Tape& tape) const {
        tape.h += x;
        answer.forward(tape.h, tape.answer, tape.log_p);
        attend::log_softmax(tape.log_p, tape.log_p);
    }
};

/// What an audio callback holds: the filters, the ring of what was heard, and memory for a step.
class Listener {
public:
    explicit Listener(const Model& model) : model_(model) {
        tape_.workspace = attend::Workspace(model.attention.workspace_bytes({.queries = 1, .keys = window + sinks}));
    }

    /// Log-probabilities of the kinds, at the end of the block. From the second call on nothing is taken from the heap.
    const Rows<float>& hear(std::span<const float> block) {
        model_.step(ear_.hear(block), ring_, tape_);
        return tape_.log_p;
    }

private:
    const Model& model_;
    Ear ear_{Sounds::rate};
    attend::RingCache<float> ring_{{.heads = heads, .d_k = d_head, .keys = window, .sinks = sinks}};
    Model::Tape tape_;
};

}  // namespace streaming_audio

#pragma once

#include "cross_entropy.hpp"
#include "gallery.hpp"
#include "shards.hpp"

namespace support {

/// The model, trained to name things. `Batch(random)` draws some, with their `labels`; `model.forward(batch, tape)`
/// leaves the log-probabilities of the names in `tape.log_p`, a row for each label, and `model.backward(batch, tape,
/// dlog_p, gradient)` adds the gradient of a loss in them.
template <class Batch, class Model>
Model train_classifier(Model model, int steps, const GalleryOptions& options) {
    struct Lesson {
        typename Model::Tape tape{};
        Rows<float> dlog_p{};

        float operator()(const Model& learner, Random& random, Model& gradient) {
            const Batch batch(random);
            learner.forward(batch, tape);
            const float scale = 1.f / static_cast<float>(batch.labels.size());
            const float loss = scale * cross_entropy(batch.labels, tape.log_p, scale, dlog_p);
            learner.backward(batch, tape, dlog_p, gradient);
            return loss;
        }
    };
    train(model, steps, static_cast<float>(options.rate), Shards<Model, Lesson>(model, options.seed));
    return model;
}

/// The share of new things that it names right, in per cent.
template <class Batch, class Model>
double percent_right(const Model& model, int batches) {
    Random random(0xfeed);  // training draws from others
    typename Model::Tape tape;
    double right = 0, all = 0;
    for (int i = 0; i < batches; ++i) {
        const Batch batch(random);
        model.forward(batch, tape);
        for (Eigen::Index row = 0; row < tape.log_p.rows(); ++row) {
            Eigen::Index named = 0;
            tape.log_p.row(row).maxCoeff(&named);
            right += named == batch.labels[static_cast<std::size_t>(row)] ? 1 : 0, ++all;
        }
    }
    return 100 * right / all;
}

}  // namespace support

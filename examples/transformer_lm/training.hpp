#pragma once

#include "../support/adam.hpp"
#include "../support/cross_entropy.hpp"
#include "../support/numbers.hpp"
#include "evaluation.hpp"

#include <array>
#include <chrono>
#include <functional>

namespace transformer_lm {

struct TrainingPlan {
    double minutes = 2;
    int steps = 0;       ///< instead of a time, for a run that gives the same weights each time; 0: the time decides
    float rate = 5e-3f;  ///< the highest; it rises first and falls to 0 at the end
    float decay = 0.1f;
    double dropout = 0;
    std::uint64_t seed = 1;
    int threads = 1;
    int looks = 40;  ///< how often the held-out loss is measured
};

/// A point of the curve of learning, losses in bits per character.
struct Look {
    int step;
    double training;  ///< mean since the look before, with dropout
    double held_out;
};

/// Minimises the loss of windows from random places of the training text, and leaves the weights that did best on the
/// held-out one. (The bigram is granted the same look at it: see bigram.hpp.)
///
/// `model` computes, in numbers of T. What Adam moves is `weights`, in float, since 16 bits stand still where a step is
/// less than half of their last digit; they are rounded into the model for each step.
///
/// A minibatch is always cut into the same shards, whose gradients are added in the same order: the weights after a
/// number of steps do not depend on the number of threads.
template <class T, class A>
class Trainer {
public:
    using Weights = LanguageModel<float, A>;
    using Model = LanguageModel<T, A>;
    static constexpr int shards = 4;
    static constexpr int windows = 2;  ///< in a shard: many small steps get further than few large ones

    Trainer(Weights& weights, Model& model, const Corpus& corpus, Index context, TrainingPlan plan)
        : weights_(weights),
          model_(model),
          corpus_(corpus),
          context_(context),
          plan_(plan),
          held_out_(held_out_batches(corpus, context)),
          adam_(plan.decay, 0.99f),
          adam_of_parts_(0, 0.99) {
        for (Shard& shard : shards_) shard.gradient.emplace(attend::zero_gradient(weights));
    }

    /// Calls progress(share of the way, loss of the latest step in bits, best held-out loss or infinity) after each
    /// step. Throws NotFinite where a loss, the gradient or a weight is not finite.
    std::vector<Look> run(const std::function<void(double, double, double)>& progress) {
        std::vector<Look> looks;
        std::optional<Weights> best;
        double best_loss = std::numeric_limits<double>::infinity(), sum = 0;
        int next_look = 1, since = 0;
        for (done_ = 0; done_ < 1;) {
            const double loss = learn_from_one_minibatch();
            sum += loss, ++since;
            done_ = share_done();
            if (done_ * plan_.looks >= next_look) {
                next_look = static_cast<int>(done_ * plan_.looks) + 1;
                attend::assign_parameters(model_, weights_);
                const double held_out = loss_of(model_, held_out_, plan_.threads);
                if (!std::isfinite(held_out)) throw diverged("the held-out loss", steps_);
                looks.push_back({steps_, sum / since, held_out});
                sum = 0, since = 0;
                if (held_out < best_loss) {
                    best_loss = held_out;
                    best.emplace(weights_);
                }
            }
            progress(done_, loss, best_loss);
        }
        if (best) {
            attend::assign_parameters(weights_, *best);
            attend::assign_parameters(model_, weights_);
        }
        return looks;
    }

    int steps() const { return steps_; }

private:
    using Clock = std::chrono::steady_clock;
    struct Shard {
        std::optional<Weights> gradient;
        typename Model::Tape tape;
        Batch batch;
        Rows<float> dlog_probabilities;
        float loss = 0;
    };

    double share_done() const {
        if (plan_.steps > 0) return static_cast<double>(steps_) / plan_.steps;
        const double minutes = std::chrono::duration<double>(Clock::now() - start_).count() / 60;
        return std::min(1.0, minutes / plan_.minutes);
    }

    double learn_from_one_minibatch() {
        attend::assign_parameters(model_, weights_);
        Threads{plan_.threads}.parallel_for(shards, [&](Index i) {
            learn_from(shards_[static_cast<std::size_t>(i)],
                       plan_.seed + static_cast<std::uint64_t>(steps_) * shards + static_cast<std::uint64_t>(i));
        });
        Weights& total = *shards_[0].gradient;
        float loss = shards_[0].loss;
        for (int i = 1; i < shards; ++i) {
            Shard& shard = shards_[static_cast<std::size_t>(i)];
            add(numbers_of<float>(total), numbers_of<float>(*shard.gradient));
            add(numbers_of<double>(total), numbers_of<double>(*shard.gradient));
            loss += shard.loss;
        }
        if (!std::isfinite(loss)) throw diverged("the loss", steps_ + 1);
        const float rate = rate_now();
        adam_.step(numbers_of<float>(weights_), numbers_of<float>(total), rate);
        // Slopes, caps and scales of the attention are double.
        adam_of_parts_.step(numbers_of<double>(weights_), numbers_of<double>(total), static_cast<double>(rate));
        ++steps_;
        return static_cast<double>(loss) / std::numbers::ln2;
    }

    void learn_from(Shard& shard, std::uint64_t seed) {
        Random random(seed);
        draw(shard.batch, corpus_, context_, windows * context_, random);
        fill(numbers_of<float>(*shard.gradient), 0.f);
        fill(numbers_of<double>(*shard.gradient), 0.0);
        model_.forward(shard.batch, Dropout(plan_.dropout, random.bits()), shard.tape);
        const float scale = 1.f / static_cast<float>(shards * shard.batch.counted);
        shard.loss =
            scale * cross_entropy(shard.batch.targets, shard.tape.log_probabilities, scale, shard.dlog_probabilities);
        model_.backward(shard.batch, shard.tape, shard.dlog_probabilities, *shard.gradient);
    }

    /// Rises over the first steps, while Adam's averages are rough, then falls along half a cosine.
    float rate_now() const {
        const float rise = std::min(1.f, static_cast<float>(steps_ + 1) / 50.f);
        return plan_.rate * rise * 0.5f * (1.f + std::cos(std::numbers::pi_v<float> * static_cast<float>(done_)));
    }

    Weights& weights_;
    Model& model_;
    const Corpus& corpus_;
    Index context_;
    TrainingPlan plan_;
    std::vector<Batch> held_out_;
    std::array<Shard, shards> shards_;
    Adam<float> adam_;
    Adam<double> adam_of_parts_;
    int steps_ = 0;
    double done_ = 0;  // share of the way
    Clock::time_point start_ = Clock::now();
};

}  // namespace transformer_lm

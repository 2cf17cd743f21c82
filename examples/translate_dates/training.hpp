#pragma once

#include "../support/adam.hpp"
#include "../support/cross_entropy.hpp"
#include "../support/numbers.hpp"
#include "../support/threads.hpp"
#include "model.hpp"

#include <array>
#include <functional>
#include <numbers>
#include <optional>

namespace translate_dates {

struct TrainingPlan {
    int steps = 1800;
    float rate = 6e-3f;  // the highest; it rises first and falls to 0 at the end
    std::uint64_t seed = 1;
    int threads = 2;
};

/// Trains on sentences that are made as they are needed, none of them of a held-out date.
/// A minibatch is always cut into the same shards, whose gradients are added in the same order: the trained weights do
/// not depend on the number of threads.
class Trainer {
public:
    static constexpr int shards = 4;
    static constexpr int shard_size = 16;

    Trainer(Translator<float>& model, TrainingPlan plan) : model_(model), plan_(plan) {
        for (Shard& shard : shards_) shard.gradient.emplace(attend::zero_gradient(model));
    }

    /// Calls progress(steps done, loss of the last step) after each step; the loss is -log p of one output character.
    /// Throws NotFinite where the loss, the gradient or a weight is not finite.
    void run(const std::function<void(int, float)>& progress) {
        for (int step = 0; step < plan_.steps; ++step) {
            const float loss = learn_from_one_minibatch(step);
            progress(step + 1, loss);
        }
    }

private:
    struct Shard {
        std::optional<Translator<float>> gradient;
        Translator<float>::Tape tape;
        Rows<float> dlog_probabilities;
        float loss = 0;
    };

    /// Shards of one number under different seeds have nothing in common, nor has a shard with the first weights.
    Batch draw_examples(int shard) const {
        Random random(plan_.seed + (static_cast<std::uint64_t>(shard + 1) << 32));
        std::vector<Example> examples;
        for (int i = 0; i < shard_size; ++i)
            examples.push_back(random.chance(15) ? non_date(random) : training_date(random));
        return Batch(std::move(examples));
    }

    float learn_from_one_minibatch(int step) {
        constexpr float scale = 1.f / static_cast<float>(shards * shard_size * answer_length);
        Threads{plan_.threads}.parallel_for(shards, [&](Index i) {
            Shard& shard = shards_[static_cast<std::size_t>(i)];
            fill(numbers_of<float>(*shard.gradient), 0.f);
            const Batch batch = draw_examples(step * shards + static_cast<int>(i));
            model_.forward(batch, shard.tape);
            shard.loss =
                scale * cross_entropy(batch.answers, shard.tape.log_probabilities, scale, shard.dlog_probabilities);
            model_.backward(batch, shard.tape, shard.dlog_probabilities, *shard.gradient);
        });

        const auto total = numbers_of<float>(*shards_[0].gradient);
        float loss = shards_[0].loss;
        for (int i = 1; i < shards; ++i) {
            Shard& shard = shards_[static_cast<std::size_t>(i)];
            add(total, numbers_of<float>(*shard.gradient));
            loss += shard.loss;
        }
        if (!std::isfinite(loss)) throw diverged("the loss", step + 1);
        adam_.step(numbers_of<float>(model_), total, rate_at(step));
        return loss;
    }

    /// Rises over the first steps, while Adam's averages are rough, then falls along half a cosine.
    float rate_at(int step) const {
        const float rise = std::min(1.f, static_cast<float>(step + 1) / 50.f);
        const float done = static_cast<float>(step) / static_cast<float>(plan_.steps);
        return plan_.rate * rise * 0.5f * (1.f + std::cos(std::numbers::pi_v<float> * done));
    }

    Translator<float>& model_;
    TrainingPlan plan_;
    std::array<Shard, shards> shards_;
    Adam<float> adam_;
};

}  // namespace translate_dates

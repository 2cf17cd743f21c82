#pragma once

#include "numbers.hpp"
#include "random.hpp"
#include "threads.hpp"

#include <vector>

namespace support {

/// A minibatch, cut into shards that threads share: what `train` learns from. A `Lesson` holds the memory of a shard,
/// and `lesson(model, random, gradient)` draws examples, adds the gradient of their mean loss and returns that loss.
/// Shards are the same ones whatever the threads, and are added in order: so are the weights that training ends with.
template <class Model, class Lesson>
class Shards {
public:
    Shards(const Model& model, std::uint64_t seed, int threads = default_threads())
        : model_(model), seed_(seed), threads_{threads} {
        for (int i = 0; i < count; ++i) shards_.push_back({Lesson{}, attend::zero_gradient(model)});
    }

    float operator()(Model& gradient) {
        const auto step = static_cast<std::uint64_t>(step_++);
        threads_.parallel_for(count, [&](Eigen::Index i) {
            Shard& shard = shards_[static_cast<std::size_t>(i)];
            fill(numbers_of<float>(shard.gradient), 0.f);
            Random random((seed_ << 32) + step * count + static_cast<std::uint64_t>(i));
            shard.loss = shard.lesson(model_, random, shard.gradient);
        });
        float loss = 0;
        for (Shard& shard : shards_) {
            add(numbers_of<float>(gradient), numbers_of<float>(shard.gradient));
            loss += shard.loss / count;
        }
        for (const auto& parameter : numbers_of<float>(gradient))
            for (float& number : parameter) number /= count;
        return loss;
    }

private:
    static constexpr int count = 4;
    struct Shard {
        Lesson lesson;
        Model gradient;
        float loss = 0;
    };

    const Model& model_;
    std::uint64_t seed_;
    int step_ = 0;
    Threads threads_;
    std::vector<Shard> shards_;
};

}  // namespace support

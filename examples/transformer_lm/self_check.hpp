#pragma once

#include "../support/cross_entropy.hpp"
#include "../support/gradient_check.hpp"
#include "../support/report.hpp"
#include "../support/weights_check.hpp"
#include "attentions.hpp"
#include "bigram.hpp"
#include "sampling.hpp"
#include "training.hpp"

/// What `--short` checks in seconds: everything this program relies on but the long training.
namespace transformer_lm {

namespace detail {

inline constexpr ModelSizes tiny{.layers = 2, .width = 8, .heads = 2, .context = 6};

/// The largest difference, over every single parameter, between the gradient and finite differences in double, of
/// windows of several lengths and with dropout.
template <class A>
double worst_gradient_error(const Corpus& corpus, const A& attention, bool rope) {
    Batch batch;
    batch.append(corpus, {0, 7}, 0);
    batch.append(corpus, {100, 104}, 103);
    batch.append(corpus, {50, 52}, 50);
    using Model = LanguageModel<double, A>;
    Model model(corpus.alphabet_size(), tiny, attention, rope, 7);
    Model gradient = attend::zero_gradient(model);
    typename Model::Tape tape;
    Rows<double> dlog_probabilities;
    const auto loss = [&] {
        model.forward(batch, Dropout(0.2, 5), tape);
        return cross_entropy(batch.targets, tape.log_probabilities, 1.0, dlog_probabilities);
    };
    loss();
    model.backward(batch, tape, dlog_probabilities, gradient);
    return support::worst_gradient_error(model, gradient, loss);
}

/// Every character of the training text is drawn, as often as any other but for chance, and none that is held out.
inline bool windows_cover_training_alone(const Corpus& corpus) {
    constexpr Index context = 32;
    std::vector<int> drawn(corpus.tokens().size(), 0);
    Random random(3);
    for (int i = 0; i < 200 * static_cast<int>(corpus.size() / context); ++i) {
        const Corpus::Part window = draw_window(corpus, context, random);
        for (Index place = window.begin + 1; place < window.end; ++place) ++drawn[static_cast<std::size_t>(place)];
    }
    bool right = true;
    for (const Corpus::Part& part : corpus.training())  // the first character of a part has nothing before it
        for (Index place = part.begin + 1; place < part.end; ++place)
            right = right && drawn[static_cast<std::size_t>(place)] > 100;
    for (const Corpus::Part& part : corpus.held_out())
        for (Index place = part.begin; place < part.end; ++place)
            right = right && drawn[static_cast<std::size_t>(place)] == 0;
    return right;
}

inline bool held_out_is_predicted_once(const Corpus& corpus) {
    Index counted = 0;
    for (const Batch& batch : held_out_batches(corpus, 40)) counted += batch.counted;
    return counted == corpus.held_out_size();
}

/// A text that a bigram cannot foresee and a Transformer can: words of three letters, each twice.
inline std::string doubled_words() {
    Random random(11);
    std::string text;
    while (text.size() < static_cast<std::size_t>(2 * Corpus::least)) {
        std::string word;
        for (int i = 0; i < 3; ++i) word += static_cast<char>('a' + random.below(8));
        text += word + word + " ";
    }
    return text;
}

}  // namespace detail

/// 0 if all is well, otherwise 1.
inline int check_self(std::string_view text, int threads) {
    Report report;
    const auto number = Report::number;

    const Corpus doubled(detail::doubled_words());
    const auto check_gradients = [&](std::string_view score, const auto& attention, bool rope) {
        const double error = detail::worst_gradient_error(doubled, attention, rope);
        report(error < 1e-7, "gradients of all parameters with " + std::string(score) +
                                 " agree with finite differences, to " + number(error));
    };
    // The library's own tests ask this of every score; here it is asked of the model around them.
    check_gradients("capped scores and RoPE", capped(5.0), true);
    check_gradients("the score yours", yours(), false);

    report(detail::windows_cover_training_alone(doubled),
           "windows cover the training text evenly, and no held-out text");
    report(detail::held_out_is_predicted_once(Corpus(text)), "each held-out character is predicted once");

    const double bigram = bigram_loss(doubled);
    {
        constexpr bool rope = true;
        using A = decltype(scaled());
        using Model = LanguageModel<float, A>;
        constexpr ModelSizes sizes{.layers = 2, .width = 32, .heads = 2, .context = 28};
        const auto fresh = [&](std::uint64_t seed = 1) {
            return Model(doubled.alphabet_size(), sizes, scaled(), rope, seed);
        };
        // By blocks of T; returns the held-out loss.
        const auto train = [&]<class T>(T, Model& weights, int steps, int with_threads, std::uint64_t seed = 1) {
            LanguageModel<T, A> model(doubled.alphabet_size(), sizes, scaled(), rope, seed);
            const TrainingPlan plan{.steps = steps, .dropout = 0.05, .seed = seed, .threads = with_threads};
            Trainer(weights, model, doubled, sizes.context, plan).run([](double, double, double) {});
            return loss_of(model, held_out_batches(doubled, sizes.context), with_threads);
        };

        const auto check_threads = [&](auto of_type, std::string_view type) {
            Model alone = fresh(), together = fresh();
            train(of_type, alone, 5, 1), train(of_type, together, 5, 3);
            report(support::detail::same_weights(alone, together),
                   "training in " + std::string(type) + " gives the same bits with 1 and 3 threads");
        };
        check_threads(float(), "float"), check_threads(Eigen::bfloat16(), "bf16");

        Model model = fresh();
        constexpr int steps = 150;
        const double loss = train(float(), model, steps, threads);
        report(loss < 0.75 * bigram, std::to_string(steps) + " steps bring the loss on words that come twice to " +
                                         number(loss) + " bits a character, below 0.75 of the bigram's " +
                                         number(bigram));
        double apart = 0;
        for (const std::uint64_t seed : {1, 2, 3}) {
            Model in_float = fresh(seed), in_bf16 = fresh(seed);
            apart = std::max(apart, std::abs(train(Eigen::bfloat16(), in_bf16, steps, threads, seed) -
                                             train(float(), in_float, steps, threads, seed)));
        }
        report(apart < 0.02, "blocks in bf16, with weights in float, come within " + number(apart) +
                                 " bits of float from each of three seeds, below 0.02");
        std::string written;
        sample(model, doubled, sizes.context, {doubled.token_of("a")}, 20, 0.7, 1,
               [&](const std::string& character) { written += character; });
        report(written.size() == 20, "it writes: \"a" + written + "\"");

        const auto tiny = [&](std::uint64_t seed) {
            return Model(doubled.alphabet_size(), detail::tiny, scaled(), rope, seed);
        };
        report(weights_survive(model, fresh(), tiny(1)),
               "weights survive a file, and those cut short or of another model are refused");
        report(weights_stay_finite(tiny(1)), "weights that are not finite are neither saved nor loaded");
        const auto train_at = [&](float rate) {
            Model wild = tiny(1), wild_model = wild;
            const TrainingPlan plan{.steps = 100, .rate = rate, .dropout = 0, .threads = 1};
            return diverges([&] {
                Trainer(wild, wild_model, doubled, detail::tiny.context, plan).run([](double, double, double) {});
            });
        };
        report(!train_at(5e-3f) && train_at(3e38f), "training that leaves what is finite stops");
    }
    return report.exit_code();
}

}  // namespace transformer_lm

#pragma once

#include "../support/cross_entropy.hpp"
#include "../support/gradient_check.hpp"
#include "../support/report.hpp"
#include "../support/weights_check.hpp"
#include "refusal.hpp"
#include "training.hpp"

/// What `--short` checks in seconds: everything this program relies on but the long training.
namespace translate_dates {

namespace detail {

inline constexpr ModelSizes tiny{.encoder = 3, .decoder = 4, .attention = 5};

/// The largest difference, over every single parameter, between the gradient and finite differences in double.
inline double worst_gradient_error() {
    Translator<double> model(tiny, 7);
    Translator<double> gradient = attend::zero_gradient(model);
    const Batch batch({{"May 3 '79", "1979-05-03"}, {"5/3/1979", "1979-05-03"}, {"no", std::string(no_date)}});
    Translator<double>::Tape tape;
    Rows<double> dlog_probabilities;
    const auto loss = [&] {
        model.forward(batch, tape);
        return cross_entropy(batch.answers, tape.log_probabilities, 1.0, dlog_probabilities);
    };
    loss();
    model.backward(batch, tape, dlog_probabilities, gradient);

    return support::worst_gradient_error(model, gradient, loss);
}

inline bool threads_change_nothing() {
    Translator<float> alone(tiny, 7);
    Translator<float> together(tiny, 7);
    Trainer(alone, {.steps = 5, .threads = 1}).run([](int, float) {});
    Trainer(together, {.steps = 5, .threads = 3}).run([](int, float) {});
    return support::detail::same_weights(alone, together);
}

/// The first text that the rules of refusal judge wrongly, in quotation marks; nothing if there is none.
inline Reason wrong_verdict() {
    for (const char* text : {"", "  ", "hello world", "the quick brown fox", "99/99/9999", "13 Foo 2001", "3 May",
                             "May 1979", "123/4/1999", "5/3/79 \xE2\x82\xAC"})
        if (!why_unreadable(tidy(text))) return in_quotes(text);
    for (const char* text : {"5/3/79", "19790503", "Saturday, the 3rd of MAY '79", "Febuary 3 1979"})
        if (why_unreadable(tidy(text))) return in_quotes(text);

    struct Reading {
        const char* text;
        const char* answer;
        bool trusted;
    };
    for (const Reading& reading :
         {Reading{"29 Feb 2000", "2000-02-29", true}, Reading{"29 Feb 1900", "1900-02-29", false},  // no leap year
          Reading{"3 May 1979", "1979-05-03", true}, Reading{"3 May 1979", "1979-06-03", false},
          Reading{"3 May 1979", "not a date", false}, Reading{"13/13/13", "2013-13-13", false}})
        if (why_no_date({reading.text, reading.answer, 1.0, {}}).has_value() == reading.trusted)
            return in_quotes(reading.text);
    return std::nullopt;
}

/// No text of a held-out date is drawn in training.
inline bool held_out_dates_stay_out() {
    Random random(3);
    std::vector<std::string> trained, held;
    for (int i = 0; i < 2000; ++i) {
        trained.push_back(training_date(random).answer);
        held.push_back(held_out_date(random).answer);
    }
    return std::ranges::find_first_of(trained, held) == trained.end();
}

}  // namespace detail

/// 0 if all is well, otherwise 1.
inline int check_self(int threads) {
    Report report;
    const auto number = Report::number;

    const double error = detail::worst_gradient_error();
    report(error < 1e-7, "gradients of all parameters agree with finite differences, to " + number(error));
    report(detail::threads_change_nothing(), "training gives the same bits with 1 and 3 threads");
    report(detail::held_out_dates_stay_out(), "held-out dates are not trained on");
    const Reason wrong = detail::wrong_verdict();
    report(!wrong, "what is no date is refused, and what is one is not" + (wrong ? ", but for " + *wrong : ""));

    Translator<float> model(ModelSizes{}, 1);
    float first_loss = 0;
    float last_loss = 0;
    constexpr int steps = 120;
    Trainer(model, {.steps = steps, .threads = threads}).run([&](int step, float loss) {
        if (step == 1) first_loss = loss;
        if (step > steps - 10) last_loss += loss / 10;
    });
    report(last_loss < 0.6f * first_loss, std::to_string(steps) + " steps of training bring the loss from " +
                                              number(first_loss) + " to " + number(last_loss) + ", below 0.6 of it");
    const Translation translation = translate(model, "Saturday, 3 May 1979");
    report((translation.weights.rowwise().sum().array() - 1.f).abs().maxCoeff() < 1e-5f,
           "each row of an alignment sums to 1");
    report(weights_survive(model, Translator<float>(ModelSizes{}, 8), Translator<float>(detail::tiny, 8)),
           "weights survive a file, and those cut short or of another model are refused");
    report(weights_stay_finite(Translator<float>(detail::tiny, 8)),
           "weights that are not finite are neither saved nor loaded");
    const auto train_at = [&](float rate) {
        Translator<float> wild(detail::tiny, 7);
        return diverges([&] { Trainer(wild, {.steps = 100, .rate = rate, .threads = 1}).run([](int, float) {}); });
    };
    report(!train_at(6e-3f) && train_at(3e38f), "training that leaves what is finite stops");
    return report.exit_code();
}

}  // namespace translate_dates

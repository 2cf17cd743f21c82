// needs: threads
// embeds: transformer_lm/king_james.txt
/// Trains a small decoder-only Transformer on the characters of a text, with an attention of one's choice. Where to
/// read on: attentions.hpp (the compositions to choose from, and yours), block.hpp, model.hpp, training.hpp.

#include "../support/embedded_file.hpp"
#include "../support/terminal.hpp"
#include "heads_picture.hpp"
#include "kind.hpp"
#include "loss_plot.hpp"
#include "options.hpp"
#include "prompt.hpp"
#include "self_check.hpp"

#include <sstream>

using namespace transformer_lm;

namespace {

std::string text_of(const Options& options) { return options.text ? read_file(*options.text) : embedded_file(); }

/// All that decides whether saved weights are those of this run, in one line.
std::string kind_of_run(const Options& options, std::string_view text) {
    std::ostringstream line;
    line << kind_of_model(options.attention, options.sizes, text) << ", trained ";
    options.plan.steps > 0 ? line << options.plan.steps << " steps" : line << options.plan.minutes << " minutes";
    line << " at rate " << options.plan.rate << " with dropout " << options.plan.dropout << ", seed "
         << options.plan.seed;
    if (options.type != "float") line << ", blocks in " << options.type;
    return line.str();
}

template <class Draw>
void save_picture(const std::filesystem::path& path, const std::string& what, const Draw& draw) {
    std::ostringstream picture;
    draw(picture);
    write_file(path, picture.str());
    std::cout << what << ": " << path.string() << "\n";
}

/// Trains `weights`, with which `model` computes.
template <class T, class A>
std::vector<Look> train(LanguageModel<float, A>& weights, LanguageModel<T, A>& model, const Corpus& corpus,
                        const Options& options) {
    ProgressBar bar;
    Trainer trainer(weights, model, corpus, options.sizes.context, options.plan);
    const std::vector<Look> looks = trainer.run([&](double done, double loss, double held_out) {
        std::ostringstream more;
        more << std::fixed << std::setprecision(3) << ", held-out " << held_out;
        bar.show(done, static_cast<float>(loss), std::isfinite(held_out) ? more.str() : "");
    });
    const double seconds = bar.seconds_since_start();
    std::cout << "trained in " << std::fixed << std::setprecision(1) << seconds << " s with " << options.plan.threads
              << (options.plan.threads == 1 ? " thread, " : " threads, ") << trainer.steps() << " steps, "
              << trainer.steps() / seconds << " a second\n";
    return looks;
}

/// The same, and saves what comes of it. Beside 16-bit numbers float learns the same, to compare with.
template <class T, class A>
void learn(LanguageModel<float, A>& weights, LanguageModel<T, A>& model, const std::string& kind, const Corpus& corpus,
           double bigram, const Options& options) {
    require_writable(options.weights);
    require_writable(options.pictures / "loss.svg");
    LanguageModel<float, A> of_float = weights;
    const std::vector<Look> looks = train(weights, model, corpus, options);
    save_weights(options.weights, kind, weights);
    std::cout << "weights saved in " << options.weights.string() << "\n";

    const auto curve = [](std::string name, std::string colour, const std::vector<Look>& of, double Look::*loss) {
        Curve drawn{std::move(name), std::move(colour), {}};
        for (const Look& look : of) drawn.points.push_back({look.step, look.*loss});
        return drawn;
    };
    constexpr bool rounds = !std::is_same_v<T, float>;
    const std::string type = rounds ? ", " + std::string(options.type) : "";
    std::vector<Curve> curves{curve("training" + type, "#63a4ce", looks, &Look::training),
                              curve("held-out" + type, "#092b5e", looks, &Look::held_out)};
    if constexpr (rounds) {
        std::cout << "the same in float:\n";
        LanguageModel<float, A> model_of_float = of_float;
        const std::vector<Look> beside = train(of_float, model_of_float, corpus, options);
        curves.push_back(curve("held-out, float", "#e08e0b", beside, &Look::held_out));
        curves.back().dashes = "2 3";
        const auto best = [](const std::vector<Look>& of) {
            return std::ranges::min(of, {}, &Look::held_out).held_out;
        };
        std::cout << "best held-out loss in bits per character: " << std::setprecision(4) << best(looks) << " in "
                  << options.type << ", " << best(beside) << " in float\n";
    }
    save_picture(options.pictures / "loss.svg", "the curve of learning",
                 [&](std::ostream& out) { draw_losses(out, curves, bigram); });
}

/// Where the heads look in a piece of the held-out text.
template <class T, class A>
void save_heads(const LanguageModel<T, A>& model, const Corpus& corpus, const Options& options) {
    const Corpus::Part part = corpus.specimen();
    Batch batch;
    batch.append(corpus, {part.begin, part.end + 1}, part.begin);
    typename LanguageModel<T, A>::Tape tape;
    std::vector<Rows<float>> weights;
    model.forward(batch, Dropout(), tape, &weights);
    std::vector<std::string> text;
    for (const Index token : batch.inputs) text.push_back(corpus.character(token));
    save_picture(options.pictures / "heads.svg", "where the heads look",
                 [&](std::ostream& out) { draw_heads(out, text, weights, options.sizes.heads); });
}

/// With a model of that attention whose blocks compute in T.
template <class T, class A>
int run_model(const Options& options, const A& attention, bool rope) {
    const std::string text = text_of(options);
    const Corpus corpus(text);
    const Tokens prompt = prompt_of(options.prompt, corpus);
    const double bigram = bigram_loss(corpus);
    LanguageModel<float, A> weights(corpus.alphabet_size(), options.sizes, attention, rope, options.plan.seed);
    LanguageModel<T, A> model(corpus.alphabet_size(), options.sizes, attention, rope, options.plan.seed);
    Index parameters = 0;
    attend::visit_parameters(weights, [&](std::string_view, const auto& value) { parameters += value.size(); });
    std::cout << corpus.size() << " characters, " << corpus.alphabet_size() << " different ones, "
              << corpus.held_out_size() << " held out; a model of " << parameters << " parameters\n";
    const std::string kind = kind_of_run(options, text);
    require_writable(options.pictures / "heads.svg");
    if (options.retrain || !load_earlier_weights(options.weights, kind, weights))
        learn(weights, model, kind, corpus, bigram, options);
    attend::assign_parameters(model, weights);

    const double loss = loss_of(model, held_out_batches(corpus, options.sizes.context), options.plan.threads);
    if (!std::isfinite(loss)) throw NotFinite("the held-out loss is not finite: the weights are of no use");
    std::cout << std::fixed << std::setprecision(3) << "held-out loss in bits per character: " << loss
              << ", a bigram's " << bigram << "\n";
    save_heads(model, corpus, options);

    std::cout << "\n";
    for (const Index token : prompt) std::cout << corpus.character(token);
    std::cout << (wants_colours() ? "\x1b[1m" : "|") << std::flush;
    sample(model, corpus, options.sizes.context, prompt, options.sample, options.temperature, options.plan.seed,
           [](const std::string& character) { std::cout << character << std::flush; });
    std::cout << (wants_colours() ? "\x1b[0m\n" : "\n");
    if (!options.check || loss < bigram) return 0;
    std::cerr << "the held-out loss is not below the bigram's\n";
    return 1;
}

int run(const Options& options) {
    if (options.type == "bf16") return run_model<Eigen::bfloat16>(options, scaled(), true);
    return with_attention(options.attention,
                          [&](const auto& attention, bool rope) { return run_model<float>(options, attention, rope); });
}

}  // namespace

int main(int count, char** words) {
    const auto check_or_run = [](const Options& options) {
        return options.self_check ? check_self(embedded_file(), options.plan.threads) : run(options);
    };
    return run_program(
        usage, [&] { return read_options(count, words); }, check_or_run);
}

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
    return line.str();
}

template <class Draw>
void save_picture(const std::filesystem::path& path, const std::string& what, const Draw& draw) {
    std::ostringstream picture;
    draw(picture);
    write_file(path, picture.str());
    std::cout << what << ": " << path.string() << "\n";
}

template <class A>
void train(LanguageModel<float, A>& model, const Corpus& corpus, const std::string& kind, double bigram,
           const Options& options) {
    require_writable(options.weights);
    require_writable(options.pictures / "loss.svg");
    ProgressBar bar;
    Trainer trainer(model, corpus, options.sizes.context, options.plan);
    const std::vector<Look> looks = trainer.run([&](double done, double loss, double held_out) {
        std::ostringstream more;
        more << std::fixed << std::setprecision(3) << ", held-out " << held_out;
        bar.show(done, static_cast<float>(loss), std::isfinite(held_out) ? more.str() : "");
    });
    const double seconds = bar.seconds_since_start();
    std::cout << "trained in " << std::fixed << std::setprecision(1) << seconds << " s with " << options.plan.threads
              << (options.plan.threads == 1 ? " thread, " : " threads, ") << trainer.steps() << " steps, "
              << trainer.steps() / seconds << " a second\n";
    save_weights(options.weights, kind, model);
    std::cout << "weights saved in " << options.weights.string() << "\n";
    save_picture(options.pictures / "loss.svg", "the curve of learning",
                 [&](std::ostream& out) { draw_losses(out, looks, bigram); });
}

/// Where the heads look in a piece of the held-out text.
template <class A>
void save_heads(const LanguageModel<float, A>& model, const Corpus& corpus, const Options& options) {
    const Corpus::Part part = corpus.specimen();
    Batch batch;
    batch.append(corpus, {part.begin, part.end + 1}, part.begin);
    typename LanguageModel<float, A>::Tape tape;
    std::vector<Rows<float>> weights;
    model.forward(batch, Dropout(), tape, &weights);
    std::vector<std::string> text;
    for (const Index token : batch.inputs) text.push_back(corpus.character(token));
    save_picture(options.pictures / "heads.svg", "where the heads look",
                 [&](std::ostream& out) { draw_heads(out, text, weights, options.sizes.heads); });
}

int run(const Options& options) {
    const std::string text = text_of(options);
    const Corpus corpus(text);
    const Tokens prompt = prompt_of(options.prompt, corpus);
    const double bigram = bigram_loss(corpus);
    return with_attention(options.attention, [&](const auto& attention, bool rope) {
        LanguageModel<float, std::remove_cvref_t<decltype(attention)>> model(corpus.alphabet_size(), options.sizes,
                                                                             attention, rope, options.plan.seed);
        Index parameters = 0;
        attend::visit_parameters(model, [&](std::string_view, const auto& value) { parameters += value.size(); });
        std::cout << corpus.size() << " characters, " << corpus.alphabet_size() << " different ones, "
                  << corpus.held_out_size() << " held out; a model of " << parameters << " parameters\n";
        const std::string kind = kind_of_run(options, text);
        require_writable(options.pictures / "heads.svg");
        if (options.retrain || !load_earlier_weights(options.weights, kind, model))
            train(model, corpus, kind, bigram, options);

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
    });
}

}  // namespace

int main(int count, char** words) {
    const auto check_or_run = [](const Options& options) {
        return options.self_check ? check_self(embedded_file(), options.plan.threads) : run(options);
    };
    return run_program(
        usage, [&] { return read_options(count, words); }, check_or_run);
}

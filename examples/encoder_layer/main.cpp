// embeds: encoder_layer/weights.safetensors
/// A whole Transformer encoder layer around a multi-head block, with weights that PyTorch has trained, read from a
/// safetensors file; what comes out is what PyTorch computes. Where to read on: encoder.hpp (the layer, and its names
/// in PyTorch's files), make_weights.py (how such a file is made).

#include "../support/command_line.hpp"
#include "../support/embedded_file.hpp"
#include "../support/files.hpp"
#include "../support/heat_map.hpp"
#include "../support/report.hpp"
#include "encoder.hpp"

using namespace encoder_layer;
using namespace support;

namespace {

constexpr std::string_view usage =
    R"(Runs Transformer encoder layers with weights from PyTorch, and compares what comes out with PyTorch's figures.

  encoder_layer [options]

  --weights FILE    weights and figures, made by make_weights.py (default: those that the program carries)
  --svg FILE        where the picture of the heads goes (default: encoder_layer.svg in the current folder)
  --short           the same: it takes no second
  --help            prints this

The exit code is 0; 1 if a figure is not PyTorch's; 2 if the options make no sense, or a file cannot be read or written
or is of another shape.
)";

struct Options : ProgramOptions {
    std::filesystem::path picture = "encoder_layer.svg";
};

Options read_options(int count, char** words) {
    Options options;
    for (CommandLine line(count, words); line.next();) {
        if (line.word() == "--svg")
            options.picture = line.value();
        else if (!options.take(line))
            throw UsageError("there is no option " + std::string(line.word()));
    }
    return options;
}

/// The words of a note in the file's header.
std::vector<std::string> words_of(const attend::Safetensors& file, std::string_view note) {
    const auto at = file.metadata().find(note);
    if (at == file.metadata().end())
        throw std::invalid_argument(file.where() + " does not note its " + std::string(note));
    std::istringstream text(at->second);
    return {std::istream_iterator<std::string>(text), {}};
}

struct Sentence {
    std::vector<std::string> vocabulary, words;
    std::vector<Index> text;

    explicit Sentence(const attend::Safetensors& file)
        : vocabulary(words_of(file, "vocabulary")), words(words_of(file, "sentence")) {
        for (const std::string& word : words) {
            text.push_back(std::ranges::find(vocabulary, word) - vocabulary.begin());
            if (text.back() == static_cast<Index>(vocabulary.size()))
                throw std::invalid_argument(file.where() + ": \"" + word + "\" is not in the vocabulary");
        }
    }
};

/// A layer of the file, all of whose names begin with `name`.
struct Layer {
    std::string name, title;
    Shape shape;
};

template <class T>
Encoder<T> loaded(const attend::Safetensors& file, const Layer& layer) {
    Encoder<T> encoder(layer.shape);
    attend::load_safetensors(file, encoder, names_in_torch(encoder, layer.name + "."));
    return encoder;
}

/// The largest difference to what PyTorch computed in double, and the bound that it is to be below: so many roundings
/// of the largest number.
template <class T>
void compare(Report& report, const attend::Safetensors& file, const Layer& layer, const Sentence& sentence) {
    const Encoder<T> encoder = loaded<T>(file, layer);
    const Rows<double> expected = file.matrix<double>(layer.name + ".output");
    const Rows<T> found = encoder.layer(encoder.embedded(sentence.text));
    const double apart = (found.template cast<double>() - expected).cwiseAbs().maxCoeff();
    const double bound = 32 * std::numeric_limits<T>::epsilon() * expected.cwiseAbs().maxCoeff();
    report(apart < bound, layer.name + " in " + (sizeof(T) == 8 ? "double" : "float") +
                              ": the largest difference to PyTorch's output is " + Report::number(apart) +
                              ", below 32 roundings, " + Report::number(bound));
}

/// Fills the gaps, and adds maps of where the heads look from there.
void fill_gaps(const Encoder<float>& encoder, const Layer& layer, const Sentence& sentence,
               std::vector<HeatMap>& maps) {
    const auto n = static_cast<Index>(sentence.text.size());
    Rows<float> weights(encoder.layer.shape.heads * n, n);
    const Rows<float> out = encoder.readout(encoder.layer(encoder.embedded(sentence.text), weights));
    std::vector<Index> gaps;
    std::vector<std::string> answers;
    std::cout << layer.title << ":";
    for (Index i = 0; i < n; ++i) {
        const std::string& word = sentence.words[static_cast<std::size_t>(i)];
        if (word == "?") {
            Index likeliest = 0;
            out.row(i).maxCoeff(&likeliest);
            gaps.push_back(i), answers.push_back(sentence.vocabulary[static_cast<std::size_t>(likeliest)]);
        }
        std::cout << " " << (word == "?" ? "[" + answers.back() + "]" : word);
    }
    std::cout << "\n";
    for (Index head = 0; head < encoder.layer.shape.heads; ++head) {
        const auto of_head = weights.middleRows(head * n, n);
        maps.push_back({.title = layer.title + ", head " + std::to_string(head + 1),
                        .weights = of_head(gaps, Eigen::seqN(0, n)).cast<double>(),
                        .rows = answers,
                        .columns = sentence.words});
    }
}

int run(const Options& options) {
    require_writable(options.picture);
    const std::string bytes = options.weights.empty() ? embedded_file() : read_file(options.weights);
    const attend::Safetensors file(std::as_bytes(std::span(bytes)));
    const Sentence sentence(file);
    std::vector<HeatMap> maps;
    Report report;
    for (const Layer& layer : {Layer{"norm_last", "norm last, ReLU", {}},
                               Layer{"norm_first", "norm first, GELU", {.norm_first = true, .gelu = true}}}) {
        fill_gaps(loaded<float>(file, layer), layer, sentence, maps);
        compare<double>(report, file, layer, sentence);
        compare<float>(report, file, layer, sentence);
    }
    try {
        loaded<float>(file, {"norm_last", "", {.hidden = 64}});
        report(false, "a wider layer takes these weights");
    } catch (const std::invalid_argument& error) {
        report(true, std::string("a wider layer does not take these weights: ") + error.what());
    }

    std::ostringstream picture;
    draw_heat_maps(picture,
                   {.title = "Where each head looks to fill a gap",
                    .description = "Attention of the heads of two Transformer encoder layers, trained in PyTorch",
                    .row_axis = "gap",
                    .column_axis = "the sentence",
                    .cell = 48},
                   maps);
    write_file(options.picture, picture.str());
    std::cout << "\nWhere the heads look: " << options.picture.string() << "\n";
    return report.exit_code();
}

}  // namespace

int main(int count, char** words) {
    return run_program(
        usage, [&] { return read_options(count, words); }, run);
}

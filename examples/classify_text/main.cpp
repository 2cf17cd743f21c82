/// Is a guest content? Sentences in which "not", "hardly" or "although" decide it, so that it does not help to know
/// which words they are made of. Words look at each other by multi-head attention with learnt relative positions; then
/// additive attention weighs them for the verdict (Bahdanau et al. 2014; Lin et al. 2017), and shows what it went by.

#include "../support/cross_entropy.hpp"
#include "../support/files.hpp"
#include "../support/gallery.hpp"
#include "../support/layers.hpp"
#include "../support/report.hpp"
#include "../support/sentences.hpp"

#include <attend/attend.hpp>

#include <map>

using attend::Index;
using namespace support;

namespace {

// ------------------------------------------------------------------------------------------------------- the data ---

constexpr std::array nouns{"soup", "bread", "waiter", "room", "bed", "music", "coffee", "garden", "view", "service"};
constexpr std::array good{"good",     "lovely", "fine",     "excellent", "pleasant",
                          "splendid", "nice",   "charming", "great",     "perfect"};
constexpr std::array bad{"bad",    "awful", "poor",          "dreadful", "dull",
                         "dismal", "nasty", "disappointing", "sad",      "horrible"};
/// $ is the noun, + a judgement in the clause's sense, - one against it.
constexpr std::array<const char*, 4> plain{"the $ was +", "the $ was really +", "i found the $ +",
                                           "not only the $ was +"};
constexpr std::array<const char*, 6> negated{"the $ was not -",          "the $ was hardly -",
                                             "the $ was never really -", "nobody found the $ -",
                                             "i would not call the $ -", "the $ was anything but -"};
/// 1 is the clause that decides, 0 one of the opposite sense.
constexpr std::array<const char*, 8> sentences{
    "1", "1", "1 , and 1", "0 , but 1", "although 0 , 1", "1 , even though 0", "0 , yet 1", "1 , so 1"};

struct Review {
    std::vector<std::string> words{};
    bool content = false;
    bool held_out = false;  ///< whether it negates a judgement by a word with which training never does so
};

/// Judgements are held out from a kind of clause by a fixed rule, one in four of each.
Review draw_review(Random& random) {
    Review review{.content = random.chance(50)};
    const auto add_clause = [&](bool praises) {
        const bool negates = random.chance(40);
        const int kind = random.below(negates ? static_cast<int>(negated.size()) : static_cast<int>(plain.size()));
        const int judgement = random.below(static_cast<int>(good.size()));
        const auto at = static_cast<std::size_t>(judgement);
        const char* const said = praises != negates ? good[at] : bad[at];
        review.held_out = review.held_out || (negates && (judgement + kind) % 4 == 0);
        std::istringstream clause((negates ? negated.data() : plain.data())[kind]);
        for (std::string word; clause >> word;)
            review.words.push_back(word == "$" ? random.pick(nouns) : word == "+" || word == "-" ? said : word);
    };
    std::istringstream sentence(random.pick(sentences));
    for (std::string part; sentence >> part;) {
        if (part == "0" || part == "1")
            add_clause(review.content == (part == "1"));
        else
            review.words.push_back(part);
    }
    return review;
}

std::vector<Review> draw_reviews(int count, bool held_out, Random& random) {
    std::vector<Review> reviews;
    while (static_cast<int>(reviews.size()) < count)
        if (Review review = draw_review(random); review.held_out == held_out) reviews.push_back(std::move(review));
    return reviews;
}

/// Words by numbers, in the order in which they were first met.
using Vocabulary = std::map<std::string, Index>;

/// Reviews below each other, a word a row.
struct Batch {
    std::vector<Index> words, offsets{0};
    Eigen::ArrayXd content;  ///< 1 or 0

    Batch(const std::vector<Review>& reviews, Vocabulary& vocabulary) : content(std::ssize(reviews)) {
        for (const Review& review : reviews) {
            content[std::ssize(offsets) - 1] = review.content;
            for (const std::string& word : review.words)
                words.push_back(vocabulary.emplace(word, std::ssize(vocabulary)).first->second);
            offsets.push_back(std::ssize(words));
        }
    }
};

// ----------------------------------------------------------------------------------------------------- the models ---

/// Logistic regression on which words, or pairs of neighbours, a review holds.
struct BagOfWords {
    static constexpr Index most_words = 100;

    bool pairs = false;
    RowVector<double> weights = RowVector<double>::Zero(most_words * (most_words + 1));

    void for_each(const Batch& batch, auto&& f) const {
        for (Index r = 0; r < batch.content.size(); ++r)
            for (Index i = batch.offsets[static_cast<std::size_t>(r)];
                 i < batch.offsets[static_cast<std::size_t>(r) + 1]; ++i) {
                const Index word = batch.words[static_cast<std::size_t>(i)];
                f(r, word);
                if (pairs && i > batch.offsets[static_cast<std::size_t>(r)])
                    f(r, most_words + most_words * batch.words[static_cast<std::size_t>(i) - 1] + word);
            }
    }
    Eigen::VectorXd logits(const Batch& batch, auto&) const {
        Eigen::VectorXd sums = Eigen::VectorXd::Zero(batch.content.size());
        for_each(batch, [&](Index r, Index feature) { sums[r] += weights[feature]; });
        return sums;
    }
    double learn(const Batch& batch, auto& pass, BagOfWords& gradient) const {
        Eigen::VectorXd d;
        const double loss = logistic_loss<double>(batch.content, logits(batch, pass), d);
        for_each(batch, [&](Index r, Index feature) { gradient.weights[feature] += d[r]; });
        return loss;
    }
    static void parameters(auto& self, auto&& visit) { visit("weights", self.weights); }
};

using Look = decltype(attend::scaled_dot_product >> attend::relative_bias(Rows<double>()));

/// Words x look at each other; h = tanh([x, looked] W + b) is weighed by additive attention with one learnt query, and
/// the verdict is linear in the mean.
struct Reader {
    static constexpr Index width = 16, heads = 4;

    struct Pass {
        Rows<double> joined, h, queries, pooled;
        Eigen::VectorXd lse;
        attend::MultiHeadTape<double> tape;
    };

    explicit Reader(std::uint64_t seed) : Reader(seed, Random(seed)) {}

    /// The weights, where asked for, are of a single review: of the additive attention, and of the heads below each
    /// other.
    Eigen::VectorXd logits(const Batch& batch, Pass& pass, attend::Output<double> weights = {},
                           attend::Output<double> looks = {}) const {
        const attend::Sequences words(batch.offsets);
        const Rows<double> x = embedding(batch.words, Eigen::all);
        const Rows<double> looked = block(x, {.tape = &pass.tape, .weights = looks, .sequences = words});
        pass.joined.resize(x.rows(), 2 * width);
        pass.joined << x, looked;
        pass.h = mix(pass.joined).array().tanh();
        pass.queries = query.replicate(batch.content.size(), 1);
        pass.pooled.resize(batch.content.size(), width);
        pass.lse.resize(batch.content.size());
        weigh(pass.queries, pass.h, pass.h, pass.pooled,
              {.lse = pass.lse, .weights = weights, .sequences = one_each(batch), .key_sequences = words});
        return verdict(pass.pooled);
    }
    double learn(const Batch& batch, Pass& pass, Reader& gradient) const {
        Eigen::VectorXd d;
        const double loss = logistic_loss<double>(batch.content, logits(batch, pass), d);
        const Rows<double> dpooled = verdict.backward(pass.pooled, d, gradient.verdict);
        Rows<double> dqueries, dh, dvalues;
        weigh.backward(pass.queries, pass.h, pass.h, pass.pooled, pass.lse, dpooled, dqueries, dh, dvalues,
                       {.gradient = &gradient.weigh,
                        .sequences = one_each(batch),
                        .key_sequences = attend::Sequences(batch.offsets)});
        gradient.query += dqueries.colwise().sum();
        const Rows<double> dmixed = (dh + dvalues).array() * (1 - pass.h.array().square());
        const Rows<double> djoined = mix.backward(pass.joined, dmixed, gradient.mix);
        Rows<double> dx = djoined.leftCols(width);
        block.backward(pass.tape, djoined.rightCols(width), dx, {.gradient = &gradient.block});
        for (Index i = 0; i < dx.rows(); ++i)
            gradient.embedding.row(batch.words[static_cast<std::size_t>(i)]) += dx.row(i);
        return loss;
    }
    static void parameters(auto& self, auto&& visit) {
        visit("embedding", self.embedding), visit("block", self.block), visit("mix", self.mix);
        visit("query", self.query), visit("weigh", self.weigh), visit("verdict", self.verdict);
    }

    Rows<double> embedding;
    attend::MultiHeadAttention<double, Look> block;
    Linear<double> mix;
    RowVector<double> query = RowVector<double>::Ones(1);
    attend::AdditiveAttention<double> weigh;
    Linear<double> verdict;

private:
    Reader(std::uint64_t seed, Random random)
        : embedding(Rows<double>::NullaryExpr(BagOfWords::most_words, width, [&] { return random.symmetric(1.0); })),
          block({.d_model = width, .heads = heads},
                attend::scaled_dot_product >>
                    attend::relative_bias(Rows<double>::Zero(32, heads), {.buckets = 32, .max_distance = 32}),
                seed),
          mix(2 * width, width, random),
          weigh(1, width, width, seed + 1),
          verdict(width, 1, random) {}

    /// One query a review.
    static attend::Sequences one_each(const Batch& batch) {
        std::vector<Index> offsets;
        for (Index r = 0; r <= batch.content.size(); ++r) offsets.push_back(r);
        return attend::Sequences(offsets);
    }
};

// -------------------------------------------------------------------------------------------------- what it shows ---

/// A text, its words with the weights that the verdict goes by, and arcs to where the weightiest word looks.
Sentence read(const std::string& text, const Reader& reader, Vocabulary& vocabulary) {
    Review review;
    std::istringstream stream(text);
    for (std::string word; stream >> word;) review.words.push_back(word);
    const Index n = std::ssize(review.words);
    Reader::Pass pass;
    Rows<double> weights(1, n), looks(Reader::heads * n, n);
    const double logit = reader.logits(Batch({review}, vocabulary), pass, weights, looks)[0];
    const double percent = 100 / (1 + std::exp(-std::abs(logit)));
    Sentence sentence{.label = (logit > 0 ? "content " : "unhappy ") + std::to_string(std::lround(percent)) + " %",
                      .words = review.words,
                      .weights = {weights.data(), weights.data() + n}};
    Index most = 0;
    weights.row(0).maxCoeff(&most);
    for (Index head = 0; head < Reader::heads; ++head)
        for (Index j = 0; j < n; ++j)
            if (const double look = looks(head * n + most, j); j != most && look > 0.3)
                sentence.arcs.push_back({static_cast<std::size_t>(most), static_cast<std::size_t>(j), look});
    return sentence;
}

double share_right(const Eigen::VectorXd& logits, const Batch& batch) {
    return ((logits.array() > 0) == (batch.content > 0.5)).cast<double>().mean();
}

int run(const GalleryOptions& options) {
    require_writable(options.picture);
    std::cout << "Guests tell what they found: are they content?\n\n";
    Vocabulary vocabulary;
    Random random(options.seed + 2000);
    const Batch alike(draw_reviews(1000, false, random), vocabulary),
        apart(draw_reviews(1000, true, random), vocabulary);
    struct Score {
        double alike, apart;
    };
    Reader::Pass pass;
    const auto learn = [&](std::string_view name, auto& model) {
        std::cout << name << "\n";
        Random drawn(options.seed + 1000);
        train(model, options.brief ? 500 : 2500, options.rate, [&](auto& gradient) {
            return model.learn(Batch(draw_reviews(32, false, drawn), vocabulary), pass, gradient);
        });
        return Score{share_right(model.logits(alike, pass), alike), share_right(model.logits(apart, pass), apart)};
    };
    BagOfWords words, pairs{.pairs = true};
    Reader reader(options.seed);
    const Score of_words = learn("Logistic regression on words", words),
                of_pairs = learn("\nThe same on pairs of neighbours, too", pairs),
                of_reader = learn("\nAttention", reader);

    std::cout << "\nright about new sentences of   kinds learnt from   kinds never met\n"
              << std::fixed << std::setprecision(1);
    const auto print_score = [](std::string_view name, const Score& score) {
        std::cout << std::left << std::setw(24) << name << std::right << std::setw(18) << 100 * score.alike << " %"
                  << std::setw(20) << 100 * score.apart << " %\n";
    };
    print_score("words", of_words);
    print_score("words and pairs", of_pairs);
    print_score("attention", of_reader);
    std::cout << "\nWhat the verdict goes by:\n";
    std::vector<Sentence> readings;
    for (const char* text : {"the soup was not dreadful", "the soup was not excellent",
                             "although the room was charming , the waiter was anything but pleasant",
                             "nobody found the coffee horrible , even though the bread was dull",
                             "i would not call the music perfect , but the garden was splendid",
                             "not only the view was lovely , the bed was hardly poor"}) {
        readings.push_back(read(text, reader, vocabulary));
        print_sentence(std::cout, readings.back(), wants_colours(), 15);
    }
    std::ostringstream picture;
    draw_sentences(picture, "What the verdict goes by (blue), and where the weightiest word looks (arcs)", readings);
    write_file(options.picture, picture.str());
    std::cout << "The same as a picture: " << options.picture.string() << "\n\n";

    Report report;
    const double least = options.brief ? 0.8 : 0.95, margin = options.brief ? 0.15 : 0.2;
    report(of_reader.apart > least, "attention is right about " + Report::number(of_reader.apart) +
                                        " of sentences of kinds never met, more than " + Report::number(least));
    report(of_reader.alike > of_words.alike + margin && of_reader.alike > of_pairs.alike + margin,
           "of kinds learnt from it is right more often than words and pairs, by " + Report::number(margin));
    return report.exit_code();
}

}  // namespace

int main(int count, char** words) {
    return run_program(
        gallery_usage("Tells whether guests are content, by attention over the words of what they say.\n"),
        [&] { return read_gallery_options(count, words, "classify_text", 0.02); }, run);
}

/// What to learn next: every course of a catalogue is a query that looks at the courses a learner has taken, so that
/// each is judged by the part of the history that speaks for it (target attention, Zhou et al. 2018). Beside it, the
/// same model whose attention cannot look: a score that is the same for all makes it the mean of the history.

#include "../support/cross_entropy.hpp"
#include "../support/files.hpp"
#include "../support/gallery.hpp"
#include "../support/heat_map.hpp"
#include "../support/report.hpp"

#include <attend/attend.hpp>

#include <numeric>

using attend::Index;
using namespace support;

namespace {

// ------------------------------------------------------------------------------------------------------- the data ---

constexpr std::array subjects{"chess",     "French",  "guitar",  "cooking", "sailing", "poetry",
                              "chemistry", "drawing", "history", "yoga",    "C++",     "botany"};
constexpr int levels = 6, variants = 3, catalogue = static_cast<int>(subjects.size()) * levels * variants;

constexpr int subject_of(Index course) { return static_cast<int>(course) / (levels * variants); }

std::string name_of(Index course) {
    const int within = static_cast<int>(course) % (levels * variants);
    return std::string(subjects[static_cast<std::size_t>(subject_of(course))]) + " " +
           std::to_string(within / variants + 1) + "abc"[within % variants];
}

struct Learner {
    std::vector<Index> history;  ///< the latest last
    Index next = 0;
};

/// Follows three subjects at a time, each from one level to the next, and now and then drops one for another.
Learner draw_learner(Random& random) {
    struct Pursuit {
        int subject, level;
    };
    // The first subjects and variants of a level are the popular ones.
    const auto subject = [&] { return std::min(random.below(12), random.below(12)); };
    const auto take = [&](Pursuit& pursuit) -> Index {
        const int variant = std::min(random.below(variants), random.below(variants));
        return (pursuit.subject * levels + pursuit.level) * variants + variant;
    };
    std::array<Pursuit, 3> pursuits;
    for (Pursuit& pursuit : pursuits) pursuit = {subject(), random.below(3)};
    Learner learner;
    for (int length = random.between(12, 36); length >= 0; --length) {
        Pursuit& pursuit = pursuits[static_cast<std::size_t>(random.below(3))];
        if (random.chance(8)) pursuit = {subject(), 0};
        learner.next = random.chance(8) ? random.below(catalogue) : take(pursuit);
        if (length > 0) learner.history.push_back(learner.next);
        if (random.chance(85) && ++pursuit.level == levels) pursuit = {subject(), 0};
    }
    return learner;
}

std::vector<Learner> draw_learners(int count, Random& random) {
    std::vector<Learner> learners;
    for (int i = 0; i < count; ++i) learners.push_back(draw_learner(random));
    return learners;
}

// ------------------------------------------------------------------------------------------------------ the model ---

/// The chance that a course is the next one: softmax over the catalogue of b + e W pooled, where e embeds the course
/// and `pooled` is what its attention makes of the embedded history.
template <class A>
struct Recommender {
    static constexpr Index width = 16;

    Recommender(A attention_, std::uint64_t seed) : Recommender(std::move(attention_), Random(seed)) {}

    /// The log-probabilities, a row a learner. With `gradient`, adds that of the mean -log p of their next courses.
    Rows<double> operator()(const std::vector<Learner>& learners, Recommender* gradient = nullptr,
                            attend::Output<double> weights = {}) const {
        const auto count = static_cast<Index>(learners.size());
        std::vector<Index> items, history_offsets{0}, query_offsets{0}, positions;
        for (const Learner& learner : learners) {
            items.insert(items.end(), learner.history.begin(), learner.history.end());
            history_offsets.push_back(static_cast<Index>(items.size()));
            query_offsets.push_back(query_offsets.back() + catalogue);
            // A course that is asked about stands behind the history: there `alibi` counts from.
            positions.insert(positions.end(), catalogue, static_cast<Index>(learner.history.size()));
        }
        const attend::Sequences of_queries(query_offsets), of_history(history_offsets);
        const Rows<double> q = embedding.replicate(count, 1), history = embedding(items, Eigen::all);
        Rows<double> pooled(q.rows(), width);
        Eigen::VectorXd lse(q.rows());
        attention(q, history, history, pooled,
                  {.lse = lse,
                   .weights = weights,
                   .query_positions = positions,
                   .sequences = of_queries,
                   .key_sequences = of_history});
        const Rows<double> matched = q * match;
        Rows<double> logits(count, catalogue);
        logits.reshaped<Eigen::RowMajor>() = matched.cwiseProduct(pooled).rowwise().sum();
        logits.rowwise() += popularity;
        const Rows<double> log_p = attend::log_softmax(logits);
        if (gradient == nullptr) return log_p;

        Rows<double> dlog_p;
        std::vector<Index> targets;
        for (const Learner& learner : learners) targets.push_back(learner.next);
        cross_entropy(targets, log_p, 1.0 / static_cast<double>(count), dlog_p);
        const Rows<double> dlogits = attend::log_softmax.backward(log_p, dlog_p);
        const Eigen::VectorXd d = dlogits.reshaped<Eigen::RowMajor>();
        const Rows<double> dmatched = d.asDiagonal() * pooled, dpooled = d.asDiagonal() * matched;
        gradient->popularity += dlogits.colwise().sum();
        gradient->match += q.transpose() * dmatched;
        Rows<double> dq = dmatched * match.transpose(), dkeys, dvalues;
        attention.backward(q, history, history, pooled, lse, dpooled, dq, dkeys, dvalues,
                           {.gradient = &gradient->attention,
                            .query_positions = positions,
                            .sequences = of_queries,
                            .key_sequences = of_history});
        for (Index row = 0; row < dq.rows(); ++row) gradient->embedding.row(row % catalogue) += dq.row(row);
        for (std::size_t i = 0; i < items.size(); ++i)
            gradient->embedding.row(items[i]) += dkeys.row(static_cast<Index>(i)) + dvalues.row(static_cast<Index>(i));
        return log_p;
    }

    static void parameters(auto& self, auto&& visit) {
        visit("attention", self.attention);
        visit("embedding", self.embedding);
        visit("match", self.match);
        visit("popularity", self.popularity);
    }

    A attention;
    Rows<double> embedding;  ///< of courses, as candidates and as history
    Rows<double> match;
    RowVector<double> popularity = RowVector<double>::Zero(catalogue);

private:
    Recommender(A attention_, Random random)
        : attention(std::move(attention_)),
          embedding(Rows<double>::NullaryExpr(catalogue, width, [&] { return random.symmetric(0.5); })),
          match(random_weight<double>(width, width, random)) {}
};

double mean_loss(const Rows<double>& log_p, const std::vector<Learner>& learners) {
    double sum = 0;
    for (std::size_t i = 0; i < learners.size(); ++i) sum -= log_p(static_cast<Index>(i), learners[i].next);
    return sum / static_cast<double>(learners.size());
}

/// How well rows of scores rank the next course.
struct Ranking {
    double hits = 0;  ///< share of learners whose next course is among the first ten
    double auc = 0;   ///< share of the other courses that stand below it
};

Ranking rank(const Rows<double>& scores, const std::vector<Learner>& learners) {
    Ranking all;
    for (std::size_t i = 0; i < learners.size(); ++i) {
        const auto row = scores.row(static_cast<Index>(i)).array();
        const auto above = static_cast<double>((row > row(learners[i].next)).count());
        all.hits += (above < 10) / static_cast<double>(learners.size());
        all.auc += (1 - above / (catalogue - 1)) / static_cast<double>(learners.size());
    }
    return all;
}

void print(std::string_view name, const Ranking& ranking) {
    std::cout << std::left << std::setw(26) << name << std::right << std::fixed << std::setprecision(1) << std::setw(6)
              << 100 * ranking.hits << " % among the first ten   AUC " << std::setprecision(3) << ranking.auc << "\n";
}

template <class A>
Ranking learn(const std::string& name, Recommender<A>& model, const std::vector<Learner>& others,
              const GalleryOptions& options) {
    std::cout << "\n" << name << "\n";
    Random random(options.seed + 1000);
    train(model, options.brief ? 400 : 2500, options.rate, [&](Recommender<A>& gradient) {
        const std::vector<Learner> learners = draw_learners(16, random);
        return mean_loss(model(learners, &gradient), learners);
    });
    return rank(model(others), others);
}

/// Of what the next courses look at, the share that falls on courses of their own subject, where there are such.
template <class A>
double share_of_own_subject(const Recommender<A>& model, const std::vector<Learner>& learners) {
    double own = 0, all = 0;
    Rows<double> weights;
    for (const Learner& learner : learners) {
        weights.resize(catalogue, static_cast<Index>(learner.history.size()));
        model({learner}, nullptr, weights);
        double on_own = 0;
        for (Index i = 0; i < weights.cols(); ++i)
            if (subject_of(learner.history[static_cast<std::size_t>(i)]) == subject_of(learner.next))
                on_own += weights(learner.next, i);
        if (on_own > 0) own += on_own, all += weights.row(learner.next).sum();
    }
    return own / all;
}

/// Which courses of a history the ten first recommendations look at.
template <class A>
void draw_looks(std::ostream& out, const Recommender<A>& model, const Learner& learner) {
    Rows<double> weights(catalogue, static_cast<Index>(learner.history.size()));
    const Rows<double> log_p = model({learner}, nullptr, weights);
    std::vector<Index> courses(catalogue);
    std::iota(courses.begin(), courses.end(), 0);
    std::ranges::stable_sort(courses, [&](Index a, Index b) { return log_p(a) > log_p(b); });
    courses.resize(10);

    HeatMap map{.weights = weights(courses, Eigen::all)};
    std::cout << "\nA learner has taken";
    for (const Index course : learner.history) {
        std::cout << (map.columns.empty() ? " " : ", ") << name_of(course);
        map.columns.push_back(name_of(course));
    }
    std::cout << ".\nNext was " << name_of(learner.next) << ". Recommended, and where each looks most:\n";
    for (std::size_t i = 0; i < courses.size(); ++i) {
        Index most = 0;
        const double weight = map.weights.row(static_cast<Index>(i)).maxCoeff(&most);
        map.rows.push_back(name_of(courses[i]) + (courses[i] == learner.next ? " *" : ""));
        std::cout << std::setw(14) << map.rows.back() << std::fixed << std::setprecision(1) << std::setw(6)
                  << 100 * std::exp(log_p(courses[i])) << " %   at " << map.columns[static_cast<std::size_t>(most)]
                  << std::setprecision(2) << " (" << weight << ")\n";
    }
    draw_heat_maps(out,
                   {.title = "Where recommended courses look in a learner's history",
                    .description = "Weights of ten recommended courses over a history of courses",
                    .row_axis = "recommended (* taken next)",
                    .column_axis = "taken, the latest on the right"},
                   {map});
}

int run(const GalleryOptions& options) {
    require_writable(options.picture);
    std::cout << "Learners follow subjects from level to level: which course will they take next?\n";
    Random random(options.seed + 2000);
    const std::vector<Learner> others = draw_learners(500, random);
    RowVector<double> counts = RowVector<double>::Zero(catalogue);
    for (const Learner& learner : draw_learners(5000, random)) counts[learner.next] += 1;

    const auto no_look = attend::score([](auto q, auto) { return decltype(q)(0); });
    constexpr Index width = Recommender<std::remove_const_t<decltype(no_look)>>::width;
    Recommender mean(no_look, options.seed);
    Recommender recent(no_look >> attend::alibi(0.1), options.seed);
    // A sink: a course that nothing in the history speaks for need not look anywhere.
    Recommender target(attend::GeneralAttention<double>(width, width, options.seed) >> attend::alibi(0.1) >>
                           attend::softmax_with_sink(0.),
                       options.seed);
    const Ranking of_counts = rank(counts.replicate(static_cast<Index>(others.size()), 1), others);
    const Ranking of_mean = learn("Mean of the history: the same look for every course", mean, others, options);
    const Ranking of_recent = learn("Mean that forgets", recent, others, options);
    const Ranking of_target = learn("Attention: each course looks by itself", target, others, options);

    std::cout << "\nThe next course of " << others.size() << " other learners, out of " << catalogue << ":\n";
    print("popularity", of_counts);
    print("mean", of_mean);
    print("mean that forgets", of_recent);
    print("attention", of_target);
    std::ostringstream picture;
    draw_looks(picture, target, others[1]);
    write_file(options.picture, picture.str());
    std::cout << "The looks as a picture: " << options.picture.string() << "\n\n";

    Report report;
    const auto beats = [&](std::string_view name, double hits, double factor) {
        report(of_target.hits > factor * hits, "attention hits " + Report::number(of_target.hits / hits) +
                                                   " times as often as " + std::string(name) + ", more than " +
                                                   Report::number(factor));
    };
    beats("popularity", of_counts.hits, options.brief ? 1.4 : 3);
    beats("the mean", of_mean.hits, options.brief ? 1.2 : 1.5);
    beats("the mean that forgets", of_recent.hits, options.brief ? 0.9 : 1.2);
    const double share = share_of_own_subject(target, others), least = options.brief ? 0.3 : 0.8;
    report(share > least, "of what next courses look at, " + Report::number(share) +
                              " is of their own subject, more than " + Report::number(least));
    return report.exit_code();
}

}  // namespace

int main(int count, char** words) {
    return run_program(
        gallery_usage("Recommends courses to learners by attention over what they have taken.\n"),
        [&] { return read_gallery_options(count, words, "recommend", 0.02); }, run);
}

/// A score, a modifier, a mask and a normalizer of your own, in one file, as you would write them beside your code.
/// They are composed, trained and compared with a dot product on the same task: to tell what a thermometer will read
/// from what others have read elsewhere and before. Each part is a plain value; what trains in it, it names.

#include "../support/axes.hpp"
#include "../support/files.hpp"
#include "../support/gallery.hpp"
#include "../support/gradient_check.hpp"
#include "../support/layers.hpp"
#include "../support/report.hpp"

#include <attend/attend.hpp>

#include <vector>

using attend::Index, attend::Kind;
using namespace support;

namespace {

// ------------------------------------------------------------------------------------------------- the four parts ---

/// s = -Σ_a (w_a (q_a - k_a))²: what is near in space counts. How near, each axis learns for itself.
struct Distance {
    static constexpr Kind kind = Kind::score;
    static constexpr attend::Pairing pairing = attend::Pairing::elementwise;

    Eigen::VectorXd sharpness = Eigen::VectorXd::Constant(2, 3.0);

    static void parameters(auto& self, auto&& visit) { visit("sharpness", self.sharpness); }
    /// One feature's part of the score: of numbers, of packs of them and of dual numbers, by which q and k train.
    template <class X>
    X pair(const X& q, const X& k, Index a) const {
        const X apart = X(sharpness[a]) * (q - k);
        return -apart * apart;
    }
    /// ∂/∂w_a, summed up over all the lanes of a pack.
    template <class X>
    void pair_backward(const X& q, const X& k, Index a, const X& ds, Distance& gradient) const {
        gradient.sharpness[a] -= static_cast<double>(sum(ds * X(2 * sharpness[a]) * (q - k) * (q - k)));
    }
};

/// s ↦ s - u² (1 - cos(2π (query - key) / 24)): a reading of the same hour, yesterday, counts more than one of last
/// night. How much more is learnt.
struct SameHour {
    static constexpr Kind kind = Kind::modifier;

    double pull = 1;

    static void parameters(auto& self, auto&& visit) { visit("pull", self.pull); }
    auto operator()(auto s, const auto& p) const { return s - decltype(s)(pull * pull) * apart<decltype(s)>(p); }
    template <class S, class P>
    void backward(S, const P& p, S ds_out, SameHour& gradient) const {
        gradient.pull -= static_cast<double>(sum(ds_out * S(2 * pull) * apart<S>(p)));
    }

private:
    template <class S>
    static S apart(const auto& p) {
        return S(1) - cos(S(p.query - p.key) * S(2 * std::numbers::pi / 24));
    }
};

/// A reading is known `delay` hours after it was taken. The cover tells of whole tiles of pairs that nobody has to look
/// at them, which makes the mask a saving; without one it would be right, too.
struct Arrived {
    static constexpr Kind kind = Kind::mask;

    Index delay = 1;

    constexpr bool operator()(const attend::Position& p) const { return p.key + delay <= p.query; }
    constexpr attend::Cover cover(const attend::Tile& t) const {
        if (t.key_end - 1 + delay <= t.query_begin) return attend::Cover::all;
        return t.key_begin + delay <= t.query_end - 1 ? attend::Cover::some : attend::Cover::none;
    }
};

/// p = w / Σ w with w = (1 - s)^-power, for scores of at most 0: tails as heavy as the data want them, where softmax
/// forgets exponentially. It sees a row as a whole; masked scores are -∞, and so their w is 0.
struct PowerLaw {
    static constexpr Kind kind = Kind::normalizer;

    double power = 2;

    static void parameters(auto& self, auto&& visit) { visit("power", self.power); }
    /// Returns the logarithm of the row's sum, by which `backward` knows the row again; -∞ of one that sees no key.
    template <class T>
    T normalize(std::span<T> row, const attend::RowPosition&) const {
        T sum(0);
        for (T& s : row) sum += s = std::pow(T(1) - s, static_cast<T>(-power));
        if (sum > T(0))
            for (T& s : row) s /= sum;
        return std::log(sum);
    }
    /// Makes of dp, the gradient of the weights p, that of the scores: ds = (dp - Σ p dp) ∂log w/∂s · p.
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T log_sum, const attend::RowPosition&,
                  PowerLaw* gradient) const {
        T mean(0);
        for (std::size_t j = 0; j < p.size(); ++j) mean += p[j] * dp[j];
        for (std::size_t j = 0; j < p.size(); ++j) {
            if (p[j] == T(0)) {
                dp[j] = T(0);
                continue;
            }
            const T dlog = (dp[j] - mean) * p[j];
            const T log_reach = -(std::log(p[j]) + log_sum) / static_cast<T>(power);  // log(1 - s)
            dp[j] = dlog * static_cast<T>(power) * std::exp(-log_reach);
            if (gradient != nullptr) gradient->power -= static_cast<double>(dlog * log_reach);
        }
    }
};

// ------------------------------------------------------------------------------------------------------- the task ---

constexpr Index hours = 96;      // of a scene, a reading each
constexpr Index first_day = 24;  // of which nothing is asked
constexpr Index delay = 3;

/// Temperatures over a country for four days: it varies along x faster than along y, and swings with the day, here more
/// and there less. One reading an hour, at a place of its own.
struct Scenes {
    Rows<double> features;  ///< x, y, cos and sin of the hour, 1
    Rows<double> readings;
    std::vector<Index> offsets{0};

    Scenes(int count, Random& random) : features(count * hours, 5), readings(count * hours, 1) {
        const auto unit = [&] { return 0.5 + random.symmetric(0.5); };
        constexpr double turn = 2 * std::numbers::pi;
        for (Index row = 0; row < features.rows();) {
            double swing[4], wave[3][4];
            for (double& number : swing) number = unit();
            for (auto& each : wave)
                for (double& number : each) number = unit();
            for (Index t = 0; t < hours; ++t, ++row) {
                const double x = unit(), y = unit(), hour = turn * static_cast<double>(t % 24) / 24;
                features.row(row) << x, y, std::cos(hour), std::sin(hour), 1;
                double value = (0.5 + std::cos(turn * (swing[0] + x))) * std::cos(hour + turn * swing[1]);
                for (const auto& w : wave) value += 0.7 * std::cos(turn * (1.5 * w[0] * x + 0.4 * w[1] * y + w[2]));
                readings(row) = value + random.symmetric(0.2);
            }
            offsets.push_back(row);
        }
    }
};

/// A reading is foretold as the mean of those that are known, weighted by an attention.
template <class A>
struct Model {
    A attention;
    Index width;  ///< how many of the features it is given

    /// The mean square of what is foretold wrongly and, with `gradient`, what adds to it.
    double loss(const Scenes& scenes, Model* gradient = nullptr) const {
        const Rows<double> x = scenes.features.leftCols(width);
        Rows<double> foretold(x.rows(), 1), dq, dk, dv;
        Eigen::VectorXd lse(x.rows());
        const attend::Sequences sequences(scenes.offsets);
        attention(x, x, scenes.readings, foretold, {.lse = lse, .sequences = sequences});
        Rows<double> wrong = foretold - scenes.readings;
        for (Index row = 0; row < wrong.rows(); ++row)
            if (row % hours < first_day) wrong(row) = 0;
        const double count = static_cast<double>(wrong.rows()) * (hours - first_day) / hours;
        if (gradient != nullptr)
            attention.backward(x, x, scenes.readings, foretold, lse, wrong * (2 / count), dq, dk, dv,
                               {.gradient = &gradient->attention, .sequences = sequences});
        return wrong.squaredNorm() / count;
    }
    static void parameters(auto& self, auto&& visit) { visit("attention", self.attention); }
};

template <class A>
Model(A, Index) -> Model<A>;

/// Trains a model on scenes that are drawn as they are needed; returns its error on others.
template <class A>
double learn(const std::string& name, Model<A>& model, const GalleryOptions& options) {
    std::cout << "\n" << name << "\n";
    Random random(options.seed + 1000), others(options.seed + 2000);
    train(model, options.brief ? 60 : 400, options.rate,
          [&](Model<A>& gradient) { return model.loss(Scenes(8, random), &gradient); });
    const double error = std::sqrt(model.loss(Scenes(100, others)));
    std::cout << "error in 100 other scenes: " << Report::number(error) << " degrees\n";
    return error;
}

// ------------------------------------------------------------------------------------------ gradients and picture ---

/// An attention and its operands, whose gradients are checked all at once.
template <class A>
struct Probe {
    A attention;
    Rows<double> q, k, v;

    double loss(Probe* gradient = nullptr) const {
        Eigen::VectorXd lse(q.rows());
        Rows<double> out(q.rows(), v.cols());
        attention(q, k, v, out, {.lse = lse, .query_offset = 30});
        if (gradient != nullptr)
            attention.backward(q, k, v, out, lse, out, gradient->q, gradient->k, gradient->v,
                               {.gradient = &gradient->attention, .query_offset = 30});
        return out.squaredNorm() / 2;
    }
    static void parameters(auto& self, auto&& visit) {
        visit("attention", self.attention);
        visit("q", self.q), visit("k", self.k), visit("v", self.v);
    }
};

template <class A>
double gradient_error(const A& attention) {
    Random random(7);
    const auto some = [&](Index rows, Index columns) -> Rows<double> {
        return Rows<double>::NullaryExpr(rows, columns, [&] { return random.symmetric(1.0); });
    };
    Probe<A> probe{attention, some(7, 2), some(40, 2), some(40, 3)};
    Probe<A> gradient = attend::zero_gradient(probe);
    probe.loss(&gradient);
    return worst_gradient_error(probe, gradient, [&] { return probe.loss(); });
}

/// How far, in hours and along x, the readings lie that the last reading of a scene is foretold from: discs as large as
/// their weights.
template <class A>
void draw_weights(std::ostream& out, const Model<A>& model, const Scenes& scene, double left, std::string_view title) {
    const Rows<double> x = scene.features.leftCols(model.width);
    Rows<double> foretold(hours, 1), weights(hours, hours);
    model.attention(x, x, scene.readings, foretold, {.weights = weights});
    const svg::Axes axes{left, 80, 340, 260, {0, 96, 24}, {-1, 1, 0.5}};
    axes.draw(out, title, "hours ago", "how much further along x");
    for (Index key = 0; key < hours; ++key) {
        const double radius = 32 * std::sqrt(weights(hours - 1, key));
        out << "<circle cx='" << svg::rounded(axes.x(static_cast<double>(hours - 1 - key))) << "' cy='"
            << svg::rounded(axes.y(x(key, 0) - x(hours - 1, 0))) << "' r='" << svg::rounded(std::max(radius, 1.0))
            << "' fill='#216aa5' fill-opacity='0.6'/>\n";
    }
}

int run(const GalleryOptions& options) {
    require_writable(options.picture);
    std::cout << "A thermometer is foretold from others, read elsewhere and " << delay << " hours before or earlier.\n";
    const Arrived arrived{delay};
    const auto near = attend::Attention(Distance{});
    Model dot{attend::GeneralAttention<double>(5, 5, options.seed) >> arrived, 5};
    Model distance{near >> arrived, 2};
    Model hour{near >> SameHour{} >> arrived, 2};
    Model own{near >> SameHour{} >> arrived >> PowerLaw{}, 2};
    const double of_dot = learn("Dot product of learnt projections of place and hour", dot, options);
    const double of_distance = learn("Distance >> Arrived", distance, options);
    const double of_hour = learn("Distance >> SameHour >> Arrived", hour, options);
    const double of_own = learn("Distance >> SameHour >> Arrived >> PowerLaw", own, options);

    std::cout << "\nWhat the last one has learnt:\n";
    attend::visit_parameters(own, [](std::string_view name, const auto& value) {
        std::cout << "    " << name << " = " << value.reshaped().transpose() << "\n";
    });

    std::ostringstream picture;
    Random random(options.seed + 3000);
    const Scenes scene(1, random);
    svg::open(picture, 860, 400, "Which readings a forecast looks at, by a dot product and by parts of one's own");
    svg::Axes::text(picture, 70, 34, "title", "Which readings one forecast is made from", "start");
    draw_weights(picture, dot, scene, 70, "dot product: error " + Report::number(of_dot));
    draw_weights(picture, own, scene, 490, "parts of one's own: error " + Report::number(of_own));
    svg::close(picture);
    write_file(options.picture, picture.str());
    std::cout << "Which readings they look at, as a picture: " << options.picture.string() << "\n\n";

    Report report;
    const double wrong = gradient_error(own.attention);
    report(wrong < 1e-8, "gradients of all parts and operands agree with differences, to " + Report::number(wrong));
    const double most = options.brief ? 0.75 : 0.65;
    report(of_own < most * of_dot,
           "the error is " + Report::number(of_own / of_dot) + " of the dot product's, below " + Report::number(most));
    report(of_distance < of_dot && of_hour < of_distance && of_own < of_hour, "each part makes it smaller");
    return report.exit_code();
}

}  // namespace

int main(int count, char** words) {
    return run_program(
        gallery_usage("Composes an attention of parts of its own and compares it with a dot product.\n"),
        [&] { return read_gallery_options(count, words, "custom_attention", 0.05); }, run);
}

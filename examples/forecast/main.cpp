/// The load of a power grid a week ahead, where a linear regression errs in ways that repeat: on holidays, which fall
/// on any weekday, and after shocks. Attention looks for the days before on which a town's regression has left the
/// like, and learns of many towns which days to look at. That a forecast is made a week ahead is one number,
/// `query_offset`.

#include "../support/axes.hpp"
#include "../support/files.hpp"
#include "../support/gallery.hpp"
#include "../support/layers.hpp"
#include "../support/report.hpp"

#include <attend/attend.hpp>

#include <Eigen/Cholesky>

using attend::Index;
using namespace support;

namespace {

constexpr Index ahead = 7, reach = 800, year = 365, days = 4 * year, tested = days - year;
constexpr Index first_foretold = 40;  // before it too little is known

// ------------------------------------------------------------------------------------------------------- the data ---

/// Four years of a town's daily loads, without leap days. Towns share the calendar; but one rests on Sundays and
/// holidays and another lives on visitors, one heats and another cools. Beside that there are bridges between holidays
/// and weekends, weather, spells of cold that come at once and fade, and noise.
struct Town {
    static constexpr std::array holidays{0, 5, 94, 120, 130, 141, 150, 226, 275, 304, 358, 359};
    static constexpr Index features = 15, days_alike = 10;

    Rows<double> calendar = Rows<double>::Zero(days, features);  ///< weekday, holiday or beside one, season, 1
    Eigen::VectorXd load{days};                                  ///< as a logarithm, so that errors are shares

    explicit Town(Random& random) {
        const double rest = 0.1 + random.symmetric(0.25), rest_on_holidays = 0.1 + random.symmetric(0.3);
        const double winter = random.symmetric(0.2), summer = random.symmetric(0.1);
        std::array<double, 7> week{};
        for (double& day : week) day = random.symmetric(0.03);
        week[5] -= 0.7 * rest, week[6] -= rest;
        double weather = 0, spell = 0;
        for (Index t = 0; t < days; ++t) {
            const bool holiday = is_holiday(t), beside = is_holiday(t - 1) || is_holiday(t + 1);
            const Index weekday = t % 7;
            const bool bridge =
                !holiday && ((weekday == 4 && is_holiday(t - 1)) || (weekday == 0 && is_holiday(t + 1)));
            const double season = 2 * std::numbers::pi * static_cast<double>(t % year) / year;
            weather = 0.7 * weather + random.symmetric(0.02);
            spell = 0.9 * spell + (random.chance(1) ? 0.15 + random.symmetric(0.05) : 0);
            load[t] = winter * std::cos(season) + summer * std::cos(2 * season) + weather + spell +
                      random.symmetric(0.015) +
                      (holiday ? -rest_on_holidays
                               : week[static_cast<std::size_t>(weekday)] - (bridge ? 0.4 * rest_on_holidays : 0));
            calendar(t, weekday) = 1;
            calendar.row(t).tail(8) << holiday, beside, bridge, std::cos(season), std::sin(season),
                std::cos(2 * season), std::sin(2 * season), 1;
        }
    }
    static bool is_holiday(Index t) { return std::ranges::find(holidays, (t + year) % year) != holidays.end(); }
};

// ----------------------------------------------------------------------------------------------- what foretells it ---

/// What a town's linear regression foretells, and what it leaves. It knows the calendar, the four latest weeks of which
/// the loads are known, and which of their days were unlike others; it learns from all years but the last one.
struct Regression {
    Eigen::VectorXd foretold;
    Rows<double> left;

    explicit Regression(const Town& town) {
        constexpr Index lags = 28, weeks = 4, unlike = 3, width = Town::features + lags + weeks * unlike;
        Rows<double> x = Rows<double>::Zero(days, width);
        for (Index t = first_foretold; t < days; ++t) {
            x.row(t).head(Town::features) = town.calendar.row(t);
            x.row(t).segment(Town::features, lags) = town.load.segment(t - ahead - lags + 1, lags).transpose();
            for (Index week = 1; week <= weeks; ++week)
                x.row(t).segment(width - unlike * week, unlike) = town.calendar.row(t - 7 * week).segment(7, unlike);
        }
        const auto known = x.topRows(tested);
        const Eigen::MatrixXd squares = known.transpose() * known + 0.1 * Eigen::MatrixXd::Identity(width, width);
        foretold = x * squares.ldlt().solve(known.transpose() * town.load.head(tested));
        left = town.load - foretold;
        left.topRows(first_foretold).setZero();
    }
};

/// What the regression leaves is foretold as a mean of what it has left on days before, weighted by how their calendars
/// match, qᵀWk, and by how long ago they were. A day that none of them tells about looks into the sink: nothing is
/// added.
auto attention_to_days(std::uint64_t seed) {
    return attend::GeneralAttention<double>(Town::days_alike, Town::days_alike, seed) >>
           attend::relative_bias(Rows<double>::Zero(32, 1),
                                 {.buckets = 32, .max_distance = 60, .bidirectional = false}) >>
           (attend::causal & attend::sliding_window(reach)) >> attend::softmax_with_sink(0.0);
}

template <class A>
struct Forecaster {
    A attention;

    struct Pass {
        Rows<double> foretold{};  ///< what the regression leaves
        Eigen::VectorXd lse{};
    };
    /// For `count` days from `first` on.
    void forward(const Town& town, const Rows<double>& left, Index first, Index count, Pass& pass,
                 attend::Output<double> weights = {}) const {
        const Index begin = first - ahead - reach, known = count + reach;
        const auto calendar = town.calendar.leftCols(Town::days_alike);
        pass.foretold.resize(count, 1);
        pass.lse.resize(count);
        attention(calendar.middleRows(first, count), calendar.middleRows(begin, known), left.middleRows(begin, known),
                  pass.foretold, {.lse = pass.lse, .weights = weights, .query_offset = reach});
    }
    /// The mean square of the error over these days; adds its gradient.
    double learn(const Town& town, const Rows<double>& left, Index first, Index count, Pass& pass,
                 Forecaster& gradient) const {
        const Index begin = first - ahead - reach, known = count + reach;
        const auto calendar = town.calendar.leftCols(Town::days_alike);
        forward(town, left, first, count, pass);
        const Rows<double> wrong = pass.foretold - left.middleRows(first, count);
        const double scale = 1000.0 / static_cast<double>(count);
        Rows<double> dq, dk, dv;
        attention.backward(calendar.middleRows(first, count), calendar.middleRows(begin, known),
                           left.middleRows(begin, known), pass.foretold, pass.lse, wrong * (2 * scale), dq, dk, dv,
                           {.gradient = &gradient.attention, .query_offset = reach});
        return scale * wrong.squaredNorm();
    }
    static void parameters(auto& self, auto&& visit) { visit("attention", self.attention); }
};
template <class A>
Forecaster(A) -> Forecaster<A>;

/// A holiday, or a day beside one.
bool unlike_others(const Town& town, Index t) { return town.calendar.row(t).segment(7, 2).sum() > 0; }

/// The mean error of forecasts of the last year, in per cent of the load: of all days, and of those of which they or
/// the same day a week before are unlike others.
struct Errors {
    double all = 0, near_holidays = 0, days_of_all = 0, days_near_holidays = 0;

    void add(const Town& town, const Eigen::VectorXd& forecast) {
        const auto include = [](double& mean, double& count, double one) { mean += (one - mean) / ++count; };
        for (Index t = 0; t < year; ++t) {
            const double wrong = 100 * std::abs(std::exp(forecast[t] - town.load[tested + t]) - 1);
            include(all, days_of_all, wrong);
            if (unlike_others(town, tested + t) || unlike_others(town, tested + t - 7))
                include(near_holidays, days_near_holidays, wrong);
        }
    }
    void print(std::string_view name) const {
        std::cout << std::left << std::setw(30) << name << std::right << std::setw(9) << all << " %" << std::setw(14)
                  << near_holidays << " %\n";
    }
};

// -------------------------------------------------------------------------------------------------------- pictures ---

/// The weights of a day over the days before it: that of n days before at n.
template <class A>
Eigen::VectorXd weights_by_age(const Town& town, const Rows<double>& left, const Forecaster<A>& model, Index day) {
    typename Forecaster<A>::Pass pass;
    Rows<double> weights(1, reach + 1);
    model.forward(town, left, day, 1, pass, weights);
    Eigen::VectorXd by_age = Eigen::VectorXd::Zero(reach + 1 + ahead);
    by_age.tail(reach + 1) = weights.transpose().reverse();
    return by_age;
}

void draw_autumn(std::ostream& out, const Town& town, const Eigen::VectorXd& attended, const Eigen::VectorXd& naive) {
    const svg::Axes axes{80, 84, 760, 220, {270, 365, 10}, {60, 140, 20}};
    axes.draw(out, "the last weeks of the year", "day of the year", "load, % of the mean");
    const auto curve = [&](const Eigen::VectorXd& values, std::string_view style, std::string_view name, double x) {
        out << "<path style='fill:none;" << style << "' d='";
        for (Index t = 270; t < year; ++t)
            out << (t == 270 ? "M" : "L") << axes.at(static_cast<double>(t), 100 * std::exp(values[t]));
        out << "'/>\n<path style='fill:none;" << style << "' d='M" << x << " 58h26'/>\n";
        svg::Axes::text(out, x + 32, 62, "number", name, "start");
    };
    curve(naive, "stroke:#d97706;stroke-dasharray:4 3", "a week before", 640);
    curve(town.load.tail(year), "stroke:#1f2933;stroke-width:1.5", "load", 400);
    curve(attended, "stroke:#2f86c6;stroke-width:2.5;stroke-opacity:.8", "forecast", 500);
}

void draw_looks(std::ostream& out, const Eigen::VectorXd& by_age, Index day, double top, const std::string& name) {
    const double most = std::ceil(by_age.maxCoeff() * 10) / 10;
    const svg::Axes axes{80, top, 760, 90, {-800, 0, 100}, {0, most, most / 2}};
    axes.draw(out, "where " + name + " looks", "days ago (holidays in red)", "weight");
    for (const bool holiday : {false, true}) {
        out << "<path style='stroke-width:2;stroke:" << (holiday ? "#dc2626" : "#2f86c6") << "' d='";
        for (Index age = 1; age < by_age.size(); ++age)
            if (by_age[age] > most / 100 && Town::is_holiday(day - age) == holiday)
                out << "M" << axes.at(static_cast<double>(-age), 0) << "V" << svg::rounded(axes.y(by_age[age]));
        out << "'/>\n";
    }
}

int run(const GalleryOptions& options) {
    require_writable(options.picture);
    std::cout << "Forty towns teach where to look; of others the last year is foretold, each day a week ahead.\n";
    Random random(options.seed);
    std::vector<Town> towns, others;
    std::vector<Regression> regressions;
    for (int i = 0; i < 40; ++i) regressions.emplace_back(towns.emplace_back(random));
    for (int i = 0; i < 10; ++i) others.emplace_back(random);
    Forecaster model{attention_to_days(options.seed)};
    decltype(model)::Pass pass;
    train(model, options.brief ? 300 : 2000, options.rate, [&](auto& gradient) {
        constexpr Index count = 200;
        const auto i = static_cast<std::size_t>(random.below(static_cast<int>(towns.size())));
        const Index first = random.between(first_foretold + ahead + reach, days - count);
        return model.learn(towns[i], regressions[i].left, first, count, pass, gradient);
    });

    Errors of_naive, of_linear, of_attention;
    double on_unlike = 0, holidays = 0;
    for (const Town& town : others) {
        const Regression regression(town);
        Rows<double> weights(year, year + reach);
        model.forward(town, regression.left, tested, year, pass, weights);
        const Eigen::VectorXd linear = regression.foretold.tail(year);
        of_naive.add(town, town.load.segment(tested - ahead, year));
        of_linear.add(town, linear);
        of_attention.add(town, linear + pass.foretold);
        for (Index t = 0; t < year; ++t) {
            if (!Town::is_holiday(t)) continue;
            ++holidays;
            for (Index key = 0; key < weights.cols(); ++key)
                if (unlike_others(town, tested - ahead - reach + key)) on_unlike += weights(t, key);
        }
    }
    std::cout << "\nmean error in " << others.size() << " other towns     all days   near holidays\n"
              << std::fixed << std::setprecision(2);
    of_naive.print("as a week before");
    of_linear.print("regression");
    of_attention.print("regression and attention");

    const Town& town = others[2];
    const Regression regression(town);
    model.forward(town, regression.left, tested, year, pass);
    std::ostringstream picture;
    svg::open(picture, 880, 690, "Loads, their forecast by attention, and which days two forecasts look at");
    svg::Axes::text(picture, 80, 34, "title", "Load of a town's power grid, foretold a week ahead", "start");
    draw_autumn(picture, town, regression.foretold.tail(year) + pass.foretold, town.load.segment(tested - ahead, year));
    const Index tuesday = tested + 330 - (tested + 330) % 7 + 1, christmas = tested + 358;
    draw_looks(picture, weights_by_age(town, regression.left, model, tuesday), tuesday, 394, "a plain Tuesday");
    draw_looks(picture, weights_by_age(town, regression.left, model, christmas), christmas, 554, "25 December");
    svg::close(picture);
    write_file(options.picture, picture.str());
    std::cout << "Forecast and looks as a picture: " << options.picture.string() << "\n\n";

    Report report;
    const auto beats = [&](std::string_view name, double share, double most) {
        report(share < most, "the error is " + Report::number(share) + " of " + std::string(name) + ", less than " +
                                 Report::number(most));
    };
    beats("that of the week before", of_attention.all / of_naive.all, options.brief ? 0.75 : 0.7);
    beats("that of the week before, near holidays", of_attention.near_holidays / of_naive.near_holidays,
          options.brief ? 0.55 : 0.5);
    beats("that of regression", of_attention.all / of_linear.all, options.brief ? 1.02 : 0.99);
    if (!options.brief)
        beats("that of regression near holidays", of_attention.near_holidays / of_linear.near_holidays, 0.99);
    const double look = on_unlike / holidays, least = options.brief ? 0.2 : 0.4;
    report(look > least, "holidays look at holidays and days beside them with " + Report::number(look) +
                             " of their weight, more than " + Report::number(least) + "; one day in ten is such");
    return report.exit_code();
}

}  // namespace

int main(int count, char** words) {
    return run_program(
        gallery_usage("Foretells the loads of towns a week ahead by attention over the days before.\n"),
        [&] { return read_gallery_options(count, words, "forecast", 0.03); }, run);
}

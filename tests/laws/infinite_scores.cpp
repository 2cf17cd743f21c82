// Where a formula levels off its derivative is 0, however large or infinite the score that came in: all gradients are
// finite, and those of infinite scores are 0.

#include <cmath>
#include <limits>
#include <tuple>

#include <attend/attention.hpp>
#include <attend/modifier/adaptive_span.hpp>
#include <attend/modifier/alibi.hpp>
#include <attend/modifier/bias.hpp>
#include <attend/modifier/lambda.hpp>
#include <attend/modifier/relative_bias.hpp>
#include <attend/modifier/scale.hpp>
#include <attend/modifier/soft_cap.hpp>
#include <attend/normalizer/sigmoid.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_infinite_scores {
namespace {

constexpr Index rows = 9, keys = 6, changed = 2;  // more than a packet, and not whole packets

/// Modifiers stand in few types, each of which costs seconds of compiling: what a case is not about is neutral in it.
constexpr double no_scale = 1, no_slope = 0;

/// One of several formulas.
template <class... Fs>
struct OneOf {
    std::tuple<Fs...> formulas;
    int which = 0;

    auto operator()(auto s, auto p) const {
        auto y = s;
        int i = 0;
        const auto try_next = [&](const auto& f) {
            if (i++ == which) y = static_cast<decltype(s)>(f(s, p));
        };
        std::apply([&](const auto&... f) { (try_next(f), ...); }, formulas);
        return y;
    }
};
const std::tuple formulas{
    [](auto s, auto) { return 3 * tanh(s * s / 7); },
    [](auto s, auto) { return exp(-s * s); },
    [](auto s, auto) { return exp(-abs(s)); },
    [](auto s, auto) { return 1 / (1 + exp(-s)); },
    [](auto s, auto) { return 1 / (1 + s * s); },
    [](auto s, auto) { return 1 / sqrt(1 + s * s); },
    [](auto s, auto) { return pow(1 + abs(s), -2); },
    [](auto s, auto) { return pow(abs(s), 0) * 2; },
    [](auto s, auto) { return 1 / log(3 + abs(s)); },
    [](auto s, auto) { return min(decltype(s)(4), max(s, decltype(s)(-4))); },
    [](auto s, auto) { return select(abs(s) < decltype(s)(50), s, tanh(s)); },
    [](auto s, auto) { return 2 * s - exp(s); },  // does not level off
};
constexpr int steep = std::tuple_size_v<decltype(formulas)> - 1;

auto formula(int which) { return modifier(OneOf{formulas, which}); }

/// A function that puts modifiers behind an attention.
template <class... Ms>
auto with(Ms... modifiers) {
    return [=](auto attention) { return (attention >> ... >> modifiers); };
}

/// Gradients of `behind(dot_product >> bias)`, with a column of the bias at `score`, are finite, and the bias's
/// gradient there is 0.
template <class T, class Behind>
void check(const Behind& behind, double score) {
    RowMatrix<T> values = RowMatrix<T>::Zero(rows, keys);
    values.col(changed).setConstant(static_cast<T>(score));
    const auto attention = behind(dot_product >> bias(values));
    const Operands<T> x = random_operands<T>({.queries = rows, .keys = keys, .d_q = 3, .d_k = 3, .d_v = 2}, 1);
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    CAPTURE(score);
    REQUIRE(y.out.allFinite());
    CHECK(d.dq.allFinite());
    CHECK(d.dk.allFinite());
    CHECK(d.dv.allFinite());
    CHECK(parameters_of(d.parameters).allFinite());
    const auto& dbias = std::get<0>(d.parameters.modifiers.each).values;
    if (std::isinf(score)) CHECK((dbias.col(changed).array() == T(0)).all());
}

template <class T, class Behind>
void check_all(const Behind& behind) {
    for (const double score : {HUGE_VAL, -HUGE_VAL, 1e30, -1e30, 200.0, -200.0}) check<T>(behind, score);
}

}  // namespace

TEMPLATE_TEST_CASE("formulas that level off have derivative 0 at infinite scores", "", float, double) {
    check_all<TestType>(with(scale(no_scale), soft_cap(2), alibi(no_slope)));
    check_all<TestType>(with(scale(3), soft_cap(2), alibi(0.1)));
    for (int which = 0; which < steep; ++which) {
        CAPTURE(which);
        check_all<TestType>(with(formula(which)));
    }
}

TEMPLATE_TEST_CASE("a score that is masked by a bias of -inf has gradients 0 behind every modifier", "", float,
                   double) {
    const RowMatrix<TestType> ones = RowMatrix<TestType>::Ones(8, 1);
    const auto check_behind = [](double scaling, double slope, double span, const RowMatrix<TestType>& table) {
        CAPTURE(scaling, slope, span, table(0, 0));
        check<TestType>(with(scale(scaling), alibi(slope), adaptive_span(span, 3.0),
                             relative_bias(table, {.buckets = 8, .max_distance = 16})),
                        -HUGE_VAL);
    };
    constexpr double no_end = 100;
    check_behind(0.5, no_slope, no_end, 0 * ones);
    check_behind(no_scale, 0.1, no_end, 0 * ones);
    check_behind(no_scale, no_slope, 2.5, 0 * ones);
    check_behind(no_scale, no_slope, no_end, ones);
    check<TestType>(with(formula(steep)), -HUGE_VAL);
}

TEST_CASE("keys whose scores overflow under a cap have gradients that are finite") {
    Operands<float> x = random_operands<float>({.queries = rows, .keys = keys, .d_q = 3, .d_k = 3, .d_v = 2}, 1);
    x.q = x.q.cwiseAbs().array() + 2;
    x.k.row(changed).setConstant(3e38F);
    for (const double scaling : {1.0, -1.0}) {
        const auto attention =
            dot_product >> bias(RowMatrix<float>::Zero(rows, keys)) >> scale(scaling) >> soft_cap(2) >> alibi(no_slope);
        const auto d = backward(attention, x);
        CHECK(d.dq.allFinite());
        CHECK(d.dk.allFinite());
        CHECK((d.dk.row(changed).array() == 0).all());
        CHECK(parameters_of(d.parameters).allFinite());
    }
}

TEST_CASE("a constant has no derivative, however steep the function of it, alone and in lanes") {
    const auto slope_at = [](auto f) {
        using L = Lanes<float>;
        const auto lanes = f(Dual<L>::variable(L(1.0F))).derivative();
        CHECK(sum(lanes) == 0);
        return f(Dual<double>::variable(1.0)).derivative();
    };
    CHECK(slope_at([](auto s) { return sqrt(decltype(s)(0) * s); }) == 0);
    CHECK(slope_at([](auto s) { return sqrt(decltype(s)(0)) + 0 * s; }) == 0);
    CHECK(slope_at([](auto s) { return log(decltype(s)(0)) + 0 * s; }) == 0);
    CHECK(slope_at([](auto s) { return 1 / decltype(s)(0) + 0 * s; }) == 0);
    CHECK(slope_at([](auto s) { return pow(decltype(s)(0), -1) + 0 * s; }) == 0);
}

}  // namespace test_infinite_scores

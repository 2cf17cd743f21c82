// Formulas of distances, written as one writes them, give for many queries at once what they give pair by pair, forward
// and backward; and that is what plain loops give.

#include <cmath>
#include <limits>

#include <attend/attention.hpp>
#include <attend/modifier/bias.hpp>
#include <attend/modifier/lambda.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>

namespace test_formulas {

// As one writes them: not all users are warned of the conversions that the language makes of numbers.
#pragma GCC diagnostic ignored "-Wconversion"

using namespace attend;
using namespace attend::test;

namespace {

/// With many queries these stand in lanes, with one the keys.
const Layout layouts[]{{.queries = 21, .keys = 18, .heads = 2, .kv_heads = 1, .query_offset = 3},
                       {.queries = 1, .keys = 37, .heads = 2, .kv_heads = 1, .query_offset = 3}};

template <class X>
void check_close(const X& a, const X& b, double tolerance) {
    REQUIRE(a.rows() == b.rows());
    const double difference = static_cast<double>((a - b).cwiseAbs().maxCoeff());
    CHECK(difference <= tolerance * (1 + static_cast<double>(b.cwiseAbs().maxCoeff())));
}

/// The same formula asked of packs, and of pairs.
template <class T, class F>
void check(const Layout& layout, const F& formula) {
    constexpr double tolerance = 64 * static_cast<double>(std::numeric_limits<T>::epsilon());
    const auto packs = scaled_dot_product >> modifier(formula);
    const auto pairs = scaled_dot_product >> modifier([formula](auto s, const Position& p) { return formula(s, p); });
    static_assert(std::invocable<const F&, Lanes<T>, LanePosition<T>>);
    static_assert(std::invocable<const F&, Lanes<T>, KeyLanePosition<T>>);
    const Operands<T> x = random_operands<T>(layout, 1);
    const auto y = forward(packs, x), z = forward(pairs, x);
    check_close(y.out, z.out, tolerance);
    check_close(y.lse, z.lse, tolerance);
    const auto d = backward(packs, x);
    const auto e = backward(pairs, x);
    check_close(d.dq, e.dq, tolerance);
    check_close(d.dk, e.dk, tolerance);
    check_close(d.dv, e.dv, tolerance);
}

/// s + distance(p) is the same as a bias that a plain loop has filled.
template <class T, class F>
void check_against_loop(const Layout& layout, const F& distance) {
    constexpr double tolerance = 64 * static_cast<double>(std::numeric_limits<T>::epsilon());
    RowMatrix<T> values(layout.queries, layout.keys);
    for (Index i = 0; i < layout.queries; ++i) {
        for (Index j = 0; j < layout.keys; ++j)
            values(i, j) = static_cast<T>(distance(Position{layout.query_offset + i, j, i}));
    }
    const auto written = scaled_dot_product >> modifier([=](auto s, auto p) { return s + distance(p); });
    const auto looked_up = scaled_dot_product >> bias(values);
    const Operands<T> x = random_operands<T>(layout, 1);
    check_close(forward(written, x).out, forward(looked_up, x).out, tolerance);
    check_close(backward(written, x).dq, backward(looked_up, x).dq, tolerance);
}

}  // namespace

TEST_CASE("formulas of distances are the same for packs and for pairs") {
    for (const Layout& layout : layouts)
        check<float>(layout,
                     [](auto s, auto p) { return s * exp(-0.1F * abs(p.key - p.query)) - 0.1 * (p.query - p.key); });
}

TEST_CASE("formulas of distances are what plain loops give") {
    for (const Layout& layout : layouts)
        check_against_loop<double>(layout, [](auto p) { return -0.1F * abs(p.query - p.key); });
}

}  // namespace test_formulas

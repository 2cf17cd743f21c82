// Law 2: masked means absent. NaN and infinity in a masked key or value reach no output and no gradient; a visible NaN
// does.

#include <attend/attend.hpp>

#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

const Layout layout{.queries = 4, .keys = 6, .heads = 2, .kv_heads = 1};
constexpr Index masked_key = 2;

/// What a masked key and its value hold changes no bit of anything.
template <class A>
void check_masked_key_is_absent(const A& unmasked) {
    const auto attention = unmasked >> mask([](Position p) { return p.key != masked_key; });
    Operands<double> x = random_operands(layout, 1);
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    CHECK((d.dk.row(masked_key).array() == 0).all());
    CHECK((d.dv.row(masked_key).array() == 0).all());
    for (const double poison : {not_a_number, infinity, -infinity}) {
        x.k.row(masked_key).setConstant(poison);
        x.v.row(masked_key).setConstant(poison);
        CAPTURE(poison);
        CHECK(first_difference(forward(attention, x), y) == "");
        CHECK(first_difference(backward(attention, x), d) == "");
    }
}

/// Under a causal mask a NaN shows from its position on, and not before.
template <class A>
void check_visible_nan_shows(const A& attention, bool in_key) {
    const Index at = 2;
    Operands<double> x = random_operands(layout, 2);
    const auto clean = forward(attention >> causal, x);
    (in_key ? x.k : x.v).row(at).setConstant(not_a_number);
    const auto y = forward(attention >> causal, x);
    CHECK(same_bits(y.out.topRows(at), clean.out.topRows(at)));
    CHECK(y.out.bottomRows(layout.queries - at).array().isNaN().all());
    CHECK(same_bits(y.lse.topRows(at), clean.lse.topRows(at)));
    CHECK(y.lse.bottomRows(layout.queries - at).array().isNaN().all() == in_key);
}

}  // namespace

TEST_CASE("a masked key is absent, whatever the score") {
    check_masked_key_is_absent(dot_product);
    check_masked_key_is_absent(scaled_dot_product);
    check_masked_key_is_absent(cosine(3.0));
    check_masked_key_is_absent(GeneralAttention<double>(3, 3, 4));
    check_masked_key_is_absent(AdditiveAttention<double>(3, 3, 4, 5));
    check_masked_key_is_absent(score([](auto q, auto k) { return q * k; }));
}

TEST_CASE("a masked key is absent behind modifiers with parameters") {
    Eigen::MatrixXd values = Eigen::MatrixXd::Ones(4, 6);
    values.col(masked_key).setConstant(not_a_number);
    check_masked_key_is_absent(dot_product >> scale(0.5) >> soft_cap(2.0) >> alibi(0.1) >> adaptive_span(2.0, 3.0));
    check_masked_key_is_absent(dot_product >> bias(values));
}

TEST_CASE("a masked key is absent, whatever the normalizer") {
    const auto check_normalizer = [](const auto& normalizer) {
        const auto attention = dot_product >> mask([](Position p) { return p.key != masked_key; }) >> normalizer;
        Operands<double> x = random_operands(layout, 3);
        const auto y = forward(attention, x);
        const auto d = backward(attention, x);
        x.k.row(masked_key).setConstant(not_a_number);
        x.v.row(masked_key).setConstant(not_a_number);
        CHECK(first_difference(forward(attention, x), y) == "");
        CHECK(first_difference(backward(attention, x), d) == "");
    };
    check_normalizer(softmax_with_sink(0.2));
    check_normalizer(sigmoid(-0.3));
    check_normalizer(sparsemax);
    check_normalizer(entmax15);
    check_normalizer(top_k(2));
}

TEST_CASE("a NaN that no key of the row is spared from shows") {
    for (const bool in_key : {true, false}) {
        check_visible_nan_shows(scaled_dot_product, in_key);
        check_visible_nan_shows(cosine(2.0), in_key);
        check_visible_nan_shows(GeneralAttention<double>(3, 3, 4), in_key);
        check_visible_nan_shows(AdditiveAttention<double>(3, 3, 4, 5), in_key);
    }
}

TEST_CASE("a NaN in a query shows in its row alone") {
    Operands<double> x = random_operands(layout, 4);
    const auto clean = forward(scaled_dot_product, x);
    x.q.row(1).setConstant(not_a_number);
    const auto y = forward(scaled_dot_product, x);
    CHECK(y.out.row(1).array().isNaN().all());
    for (const Index row : {0, 2, 3}) CHECK(same_bits(y.out.row(row), clean.out.row(row)));
}

TEST_CASE("a visible NaN shows through every normalizer") {
    const auto shows = [](const auto& normalizer) {
        Operands<double> x = random_operands(layout, 5);
        x.k.row(3).setConstant(not_a_number);
        return forward(dot_product >> normalizer, x).out.array().isNaN().all();
    };
    CHECK(shows(softmax_with_sink(0.2)));
    CHECK(shows(sigmoid(-0.3)));
    CHECK(shows(sparsemax));
    CHECK(shows(entmax15));
    CHECK(shows(top_k(2)));
}

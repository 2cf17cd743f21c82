// Law 2: masked means absent. NaN and infinity in a masked key or value reach no output and no gradient; a visible NaN
// does.

#include <attend/attend.hpp>

#include <limits>
#include <span>
#include <variant>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_masked_values {
namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

const Layout layout{.queries = 4, .keys = 6, .heads = 2, .kv_heads = 1};
constexpr Index masked_key = 2;

/// Hides one key or none, and is causal or not. One type for every case: each attention with a mask of its own type
/// takes a second to compile.
struct Kept {
    Index hidden = -1;
    bool is_causal = false;

    bool operator()(Position p) const { return p.key != hidden && (!is_causal || p.key <= p.query); }
};
LambdaMask<Kept> hides(Index key) { return mask(Kept{.hidden = key}); }
LambdaMask<Kept> hides_nothing() { return mask(Kept{}); }
LambdaMask<Kept> hides_the_future() { return mask(Kept{.is_causal = true}); }

/// A normalizer of whole rows, chosen when it runs: the kernels know of such a one only these two functions.
struct RowByRow {
    static constexpr Kind kind = Kind::normalizer;

    std::variant<Softmax, Sparsemax, Entmax15, TopK> chosen{};

    template <class T>
    T normalize(std::span<T> row, const RowPosition& where) const {
        return std::visit([&](const auto& one) { return one.normalize(row, where); }, chosen);
    }
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T lse, const RowPosition& where, RowByRow*) const {
        std::visit([&](const auto& one) { one.backward(p, dp, lse, where, nullptr); }, chosen);
    }
};

// What is checked: a composition of every kernel, score, modifier and normalizer. `kept` is its mask.
auto scaled_dot(const LambdaMask<Kept>& kept) { return scaled_dot_product >> kept; }
auto dot_with_modifiers_and_sink(const LambdaMask<Kept>& kept) {
    Eigen::MatrixXd values = Eigen::MatrixXd::Ones(4, 6);
    if (kept.keep.hidden >= 0) values.col(kept.keep.hidden).setConstant(not_a_number);
    return dot_product >> scale(0.5) >> soft_cap(2.0) >> alibi(0.1) >> adaptive_span(2.0, 3.0) >> bias(values) >>
           kept >> softmax_with_sink(0.2);
}
auto cosine_by_rows(const LambdaMask<Kept>& kept, const RowByRow& normalizer) {
    return cosine(3.0) >> kept >> normalizer;
}
auto general(const LambdaMask<Kept>& kept) { return GeneralAttention<double>(3, 3, 4) >> kept; }
auto additive(const LambdaMask<Kept>& kept) { return AdditiveAttention<double>(3, 3, 4, 5) >> kept; }
auto formula_with_sigmoid(const LambdaMask<Kept>& kept) {
    return score([](auto q, auto k) { return q * k; }) >> kept >> sigmoid(-0.3);
}

/// What a masked key and its value hold changes no bit of anything.
template <class A>
void check_masked_key_is_absent(const A& attention) {
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
    const auto clean = forward(attention, x);
    (in_key ? x.k : x.v).row(at).setConstant(not_a_number);
    const auto y = forward(attention, x);
    CHECK(same_bits(y.out.topRows(at), clean.out.topRows(at)));
    CHECK(y.out.bottomRows(layout.queries - at).array().isNaN().all());
    CHECK(same_bits(y.lse.topRows(at), clean.lse.topRows(at)));
    CHECK(y.lse.bottomRows(layout.queries - at).array().isNaN().all() == in_key);
}

}  // namespace

TEST_CASE("a masked key is absent, whatever the score, the modifiers and the normalizer") {
    check_masked_key_is_absent(scaled_dot(hides(masked_key)));
    check_masked_key_is_absent(dot_with_modifiers_and_sink(hides(masked_key)));
    for (const RowByRow& normalizer :
         {RowByRow{softmax}, RowByRow{sparsemax}, RowByRow{entmax15}, RowByRow{top_k(2)}}) {
        CAPTURE(normalizer.chosen.index());
        check_masked_key_is_absent(cosine_by_rows(hides(masked_key), normalizer));
    }
    check_masked_key_is_absent(general(hides(masked_key)));
    check_masked_key_is_absent(additive(hides(masked_key)));
    check_masked_key_is_absent(formula_with_sigmoid(hides(masked_key)));
}

TEST_CASE("a NaN that no key of the row is spared from shows") {
    for (const bool in_key : {true, false}) {
        check_visible_nan_shows(scaled_dot(hides_the_future()), in_key);
        check_visible_nan_shows(cosine_by_rows(hides_the_future(), {softmax}), in_key);
        check_visible_nan_shows(general(hides_the_future()), in_key);
        check_visible_nan_shows(additive(hides_the_future()), in_key);
    }
}

TEST_CASE("a NaN in a query shows in its row alone") {
    Operands<double> x = random_operands(layout, 4);
    const auto attention = scaled_dot(hides_nothing());
    const auto clean = forward(attention, x);
    x.q.row(1).setConstant(not_a_number);
    const auto y = forward(attention, x);
    CHECK(y.out.row(1).array().isNaN().all());
    for (const Index row : {0, 2, 3}) CHECK(same_bits(y.out.row(row), clean.out.row(row)));
}

TEST_CASE("a visible NaN shows through every normalizer") {
    const auto shows = [](const auto& attention) {
        Operands<double> x = random_operands(layout, 5);
        x.k.row(3).setConstant(not_a_number);
        return forward(attention, x).out.array().isNaN().all();
    };
    CHECK(shows(dot_with_modifiers_and_sink(hides_nothing())));
    CHECK(shows(formula_with_sigmoid(hides_nothing())));
    CHECK(shows(cosine_by_rows(hides_nothing(), {sparsemax})));
    CHECK(shows(cosine_by_rows(hides_nothing(), {entmax15})));
    CHECK(shows(cosine_by_rows(hides_nothing(), {top_k(2)})));
}

// Sizes that engines which pack take, whole tiles of them and some that are not.
TEMPLATE_TEST_CASE("a masked key is absent for many queries, and a visible one is not", "", float, Eigen::bfloat16) {
    using X = TestType;
    constexpr Index n = 200, at = 130;
    const auto attention = scaled_dot(hides_the_future());
    for (const Index width : {32, 64, 40, 17}) {
        Operands<X> x = random_operands<float>({.queries = n, .keys = n, .d_q = width, .d_k = width, .d_v = width}, 6)
                            .template cast<X>();
        const auto clean = forward(attention, x);
        CHECK(clean.out.template cast<float>().allFinite());
        for (const bool in_key : {true, false}) {
            for (const double poison : {not_a_number, infinity, -infinity}) {
                CAPTURE(width, in_key, poison);
                Operands<X> poisoned = x;
                (in_key ? poisoned.k : poisoned.v).row(at).setConstant(X(static_cast<float>(poison)));
                const auto y = forward(attention, poisoned);
                CHECK(same_bits(y.out.topRows(at), clean.out.topRows(at)));
                CHECK(same_bits(y.lse.topRows(at), clean.lse.topRows(at)));
                const RowMatrix<float> seen = y.out.bottomRows(n - at).template cast<float>();
                if (in_key) continue;  // an infinite key may be so unlike a query that it has no weight
                CHECK(!seen.array().isFinite().any());
                CHECK((poison != poison || (seen.array() == static_cast<float>(poison)).all()));
            }
            if (!in_key) continue;
            Operands<X> poisoned = x;
            poisoned.k(at, 3) = X(static_cast<float>(not_a_number));
            const auto y = forward(attention, poisoned);
            CHECK(y.out.bottomRows(n - at).template cast<float>().array().isNaN().all());
        }
    }
}

}  // namespace test_masked_values

// The gradients of every functor, against differences. Each type of attention costs a second of compiling, so that a
// score and a normalizer are checked at once, and modifiers in one chain, of which all but one are neutral: it alone
// changes the scores. Compositions of them are in gradients.cpp.

#include <attend/attend.hpp>

#include <support/catch.hpp>
#include <support/finite_difference.hpp>

using namespace attend;
using namespace attend::test;

namespace test_functor_gradients {
namespace {

const Layout plain{.queries = 4, .keys = 5, .d_q = 3, .d_k = 3, .d_v = 2};
const Layout two_widths{.queries = 4, .keys = 5, .d_q = 3, .d_k = 2, .d_v = 2};
const Layout grouped{
    .queries = 3, .keys = 5, .d_q = 3, .d_k = 3, .d_v = 2, .heads = 4, .kv_heads = 2, .query_offset = 2};

Eigen::MatrixXd random(Index rows, Index columns) {
    Random source(17);
    return random_matrix<double>(source, rows, columns);
}

/// With settings of one modifier each; those left out change no score.
struct Settings {
    double scale = 1, cap = 1e6, alibi = 0;
    Eigen::MatrixXd bias = Eigen::MatrixXd::Zero(3, 5), table = Eigen::MatrixXd::Zero(8, 1);
    double span = 100;
    double formula = 0;  ///< how much of one there is
};
auto modified(const Settings& x) {
    const auto formula = modifier([on = x.formula](auto s, auto p) {
        using S = decltype(s);
        return s + S(on) * (s * exp(S(-0.1) * s) - tanh(S(p.query - p.key)) - s);
    });
    return dot_product >> scale(x.scale) >> soft_cap(x.cap) >> formula >> alibi(x.alibi) >> bias(x.bias) >>
           relative_bias(x.table, {.buckets = 8, .max_distance = 9}) >> adaptive_span(x.span, 2.5);
}

/// The same of those with a parameter a head.
struct HeadSettings {
    Eigen::VectorXd alibi = Eigen::VectorXd::Zero(4);
    Eigen::MatrixXd bias = Eigen::MatrixXd::Zero(12, 5), table = Eigen::MatrixXd::Zero(8, 4);
    Eigen::VectorXd spans = Eigen::VectorXd::Constant(4, 100);
};
auto modified(const HeadSettings& x) {
    return dot_product >> alibi(x.alibi) >> bias(x.bias, 4) >>
           relative_bias(x.table, {.buckets = 8, .max_distance = 9, .bidirectional = false}) >>
           adaptive_span(x.spans, 2.0);
}

}  // namespace

TEST_CASE("scores and normalizers have exact gradients") {
    check_gradients(dot_product >> softmax, random_operands(plain, 1));
    check_gradients(scaled_dot_product >> sparsemax, random_operands(plain, 2));
    check_gradients(ScaledDotProductAttention(0.7) >> sparsemax, random_operands(plain, 3));
    check_gradients(GeneralAttention<double>(3, 2, 4) >> softmax_with_sink(0.4), random_operands(two_widths, 4));
    check_gradients(AdditiveAttention<double>(3, 2, 4, 5) >> sigmoid(-0.5), random_operands(two_widths, 5));
    check_gradients(cosine(3.0) >> entmax15, random_operands(plain, 6));
    check_gradients(score([](auto q, auto k) { return q * k - 0.5 * q * q + sin(k); }) >> top_k(3),
                    random_operands(plain, 7));
}

TEST_CASE("modifiers have exact gradients") {
    const auto check = [](const Settings& settings, std::uint64_t seed) {
        check_gradients(modified(settings), random_operands(grouped, seed));
    };
    check({.scale = 0.6}, 11);
    check({.cap = 1.5}, 12);
    check({.alibi = 0.3}, 13);
    check({.bias = random(3, 5)}, 14);
    check({.table = random(8, 1)}, 15);
    check({.span = 0.8}, 16);
    check({.formula = 1}, 17);
    check({.scale = 0.6,
           .cap = 1.5,
           .alibi = 0.3,
           .bias = random(3, 5),
           .table = random(8, 1),
           .span = 0.8,
           .formula = 1},
          18);
}

TEST_CASE("modifiers and normalizers with a parameter a head have exact gradients") {
    const auto check = [](const HeadSettings& settings, std::uint64_t seed) {
        check_gradients(modified(settings) >> softmax_with_sink(random(4, 1)), random_operands(grouped, seed));
    };
    check({.alibi = random(4, 1)}, 21);
    check({.bias = random(12, 5)}, 22);
    check({.table = random(8, 4)}, 23);
    check({.spans = Eigen::Vector4d(0.4, 1.3, 2.7, 9.0)}, 24);
    check_gradients(dot_product >> sigmoid(random(4, 1)), random_operands(grouped, 35));
}

}  // namespace test_functor_gradients

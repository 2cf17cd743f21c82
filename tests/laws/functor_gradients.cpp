// The gradients of every functor alone, against differences. Compositions of them are in gradients.cpp.

#include <attend/attend.hpp>

#include <support/catch.hpp>
#include <support/finite_difference.hpp>

using namespace attend;
using namespace attend::test;

namespace {

const Layout plain{.queries = 4, .keys = 5, .d_q = 3, .d_k = 3, .d_v = 2};
const Layout two_widths{.queries = 4, .keys = 5, .d_q = 3, .d_k = 2, .d_v = 2};
const Layout grouped{
    .queries = 3, .keys = 5, .d_q = 3, .d_k = 3, .d_v = 2, .heads = 4, .kv_heads = 2, .query_offset = 2};

Eigen::MatrixXd random(Index rows, Index columns) {
    Random source(17);
    return random_matrix<double>(source, rows, columns);
}

}  // namespace

TEST_CASE("scores have exact gradients") {
    check_gradients(dot_product, random_operands(plain, 1));
    check_gradients(scaled_dot_product, random_operands(plain, 2));
    check_gradients(ScaledDotProductAttention(0.7), random_operands(plain, 3));
    check_gradients(GeneralAttention<double>(3, 2, 4), random_operands(two_widths, 4));
    check_gradients(AdditiveAttention<double>(3, 2, 4, 5), random_operands(two_widths, 5));
    check_gradients(cosine(3.0), random_operands(plain, 6));
    check_gradients(score([](auto q, auto k) { return q * k - 0.5 * q * q + sin(k); }), random_operands(plain, 7));
}

TEST_CASE("modifiers have exact gradients") {
    check_gradients(dot_product >> scale(0.6), random_operands(plain, 11));
    check_gradients(dot_product >> soft_cap(1.5), random_operands(plain, 12));
    check_gradients(dot_product >> alibi(0.3), random_operands(grouped, 13));
    check_gradients(dot_product >> bias(random(3, 5)), random_operands(grouped, 14));
    check_gradients(dot_product >> relative_bias(random(8, 1), {.buckets = 8, .max_distance = 9}),
                    random_operands(grouped, 15));
    check_gradients(dot_product >> adaptive_span(0.8, 2.5), random_operands(plain, 16));
    check_gradients(dot_product >> modifier([](auto s, auto p) {
                        return s * exp(decltype(s)(-0.1) * s) - tanh(decltype(s)(p.query - p.key));
                    }),
                    random_operands(plain, 17));
}

TEST_CASE("modifiers with a parameter a head have exact gradients") {
    check_gradients(dot_product >> alibi(random(4, 1)), random_operands(grouped, 21));
    check_gradients(dot_product >> bias(random(12, 5), 4), random_operands(grouped, 22));
    check_gradients(
        dot_product >> relative_bias(random(8, 4), {.buckets = 8, .max_distance = 9, .bidirectional = false}),
        random_operands(grouped, 23));
    check_gradients(dot_product >> adaptive_span(Eigen::Vector4d(0.4, 1.3, 2.7, 9.0), 2.0),
                    random_operands(grouped, 24));
}

TEST_CASE("normalizers have exact gradients") {
    check_gradients(dot_product >> softmax, random_operands(plain, 31));
    check_gradients(dot_product >> softmax_with_sink(0.4), random_operands(plain, 32));
    check_gradients(dot_product >> softmax_with_sink(random(4, 1)), random_operands(grouped, 33));
    check_gradients(dot_product >> sigmoid(-0.5), random_operands(plain, 34));
    check_gradients(dot_product >> sigmoid(random(4, 1)), random_operands(grouped, 35));
    check_gradients(dot_product >> sparsemax, random_operands(plain, 36));
    check_gradients(dot_product >> entmax15, random_operands(plain, 37));
    check_gradients(dot_product >> top_k(3), random_operands(plain, 38));
}

// The fused backward kernel against the reference: every family of scores and normalizers, modifiers with parameters,
// over the remainders of lanes, tiles and chunks.

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/reference.hpp>
#include <support/remainders.hpp>

using namespace attend;
using namespace attend::test;

namespace {

/// Differences relative to the largest entry: sums of both signs leave small ones that are all rounding.
template <class T, class A>
void check_fused(const A& attention, const Layout& layout, double tolerance) {
    CAPTURE(layout.queries, layout.keys, layout.heads, layout.kv_heads);
    const Operands<T> x = random_operands<T>(layout, 12);
    const auto d = backward(attention, x), expected = reference_gradients(attention, x);
    CHECK(distance(d.dq, expected.dq) <= tolerance * magnitude(expected.dq));
    CHECK(distance(d.dk, expected.dk) <= tolerance * magnitude(expected.dk));
    CHECK(distance(d.dv, expected.dv) <= tolerance * magnitude(expected.dv));
    // A parameter's gradient is a sum over all pairs, each rounded, of terms up to the distance between them.
    const Eigen::VectorXd parameters = parameters_of(d.parameters), wanted = parameters_of(expected.parameters);
    const double rounding = std::numeric_limits<T>::epsilon() *
                            static_cast<double>(layout.heads * layout.queries * (layout.keys + layout.queries));
    CHECK(distance(parameters, wanted) <= tolerance * magnitude(wanted) + rounding);
}

template <class A>
void check_shapes(const A& attention, Index d) {
    for_each_remainder(d, {1, 3, 70, 131}, {1, 9, 64, 150}, [&](const Layout& layout) {
        check_fused<float>(attention, layout, 1e-5);
        check_fused<double>(attention, layout, 1e-13);
    });
}

}  // namespace

TEST_CASE("the fused gradients of softmax attention are the reference's") {
    check_shapes(scaled_dot_product, 19);
    check_shapes(dot_product >> causal, 16);
}

TEST_CASE("the fused gradients of modifiers are the reference's") {
    check_shapes(scaled_dot_product >> alibi(alibi_slopes(2)) >> soft_cap(4.0) >> (causal & sliding_window(40)) >>
                     softmax_with_sink(0.3),
                 8);
    const Eigen::MatrixXd table = Eigen::MatrixXd::Random(8, 2);
    check_shapes(
        scaled_dot_product >> relative_bias(table, {.buckets = 8, .max_distance = 30}) >> scale(1.2) >>
            modifier([](auto s, auto p) { return s + sin(s) * 0.3 - tanh(0.1 * decltype(s)(p.query - p.key)); }) >>
            adaptive_span(30.0, 20.0),
        5);
}

TEST_CASE("the fused gradients of a dense bias are the reference's") {
    for (const Index queries : {3, 70, 131}) {
        for (const Index keys : {9, 65, 150}) {
            const Layout layout{
                .queries = queries, .keys = keys, .d_q = 8, .d_k = 8, .d_v = 8, .heads = 2, .kv_heads = 2};
            const Eigen::MatrixXd values = Eigen::MatrixXd::Random(2 * queries, keys);
            check_fused<float>(scaled_dot_product >> bias(values, 2) >> soft_cap(3.0), layout, 1e-5);
            check_fused<double>(scaled_dot_product >> soft_cap(3.0) >> bias(values, 2) >> causal, layout, 1e-13);
        }
    }
}

TEST_CASE("the fused gradients of scores that map queries and keys are the reference's") {
    check_shapes(AdditiveAttention<double>(7, 7, 10, 3) >> causal, 7);
    check_shapes(cosine(4.0) >> ~sliding_window(3), 7);
    check_shapes(GeneralAttention<double>(6, 6, 3), 6);
    check_shapes(score([](auto q, auto k) { return -0.5 * (q - k) * (q - k); }), 4);
}

TEST_CASE("the fused gradients of sparse and sigmoid attention are the reference's") {
    check_shapes(scaled_dot_product >> causal >> sparsemax, 5);
    check_shapes(scaled_dot_product >> alibi(0.1) >> top_k(4), 5);
    check_shapes(scaled_dot_product >> causal >> sigmoid(-2.0), 5);
}

TEST_CASE("a score of +∞ takes all weight, and infinite ones share it") {
    Operands<double> x = random_operands<double>({.queries = 3, .keys = 100, .d_q = 1, .d_k = 1, .d_v = 2}, 5);
    x.q.setOnes();
    for (const Index key : {20, 70}) x.k(key, 0) = std::numeric_limits<double>::infinity();
    const auto d = backward(dot_product, x);
    const RowMatrix<double> share = 0.5 * x.dout.colwise().sum();
    CHECK(distance(d.dv.row(20), share) <= 1e-15);
    CHECK(distance(d.dv.row(70), share) <= 1e-15);
    CHECK((d.dv.middleRows(21, 49).array() == 0).all());
}
